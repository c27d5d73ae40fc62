"""The EVPN speaker of one host: zebra and bgpd, which fill the table of the VXLAN device. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge, frr_needs
from provision.methods._shared.bgp_options import speaker_options
from provision.methods._shared.frr import GROUP, Speaker
from provision.methods.vxlan.device import device_name
from provision.methods.vxlan.options import vni
from provision.model.inventory import Inventory, Network
from provision.resources.base import Resource
from provision.resources.kinds.file import File
from provision.resources.kinds.vxlan import ASK_CONTAINERS
from provision.resources.lib.docker_api import docker_name
from provision.resources.render import render

PROGRAM = "evpn"
"""The end of the names of the service and of its file of secrets."""
_STOP_EFFECT = "containers of other hosts are unreachable for some seconds"
_TWO_BYTES = 2**16
_TARGET_ASN = 64512


def resources(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Resource]:
    """The speaker of one host."""
    speaker = speaker_of(inventory, network, facts.host)
    bgpd = speaker.file("bgpd.conf", _bgpd_conf(speaker, facts))
    program = _program(speaker)
    files = (speaker.zebra(), bgpd, program)
    optional = speaker.bfdd(frr_needs.behind_routers(inventory, network, facts))
    yield from (*files, *optional)
    secrets = tuple(replace(each, stop_effect=_STOP_EFFECT) for each in speaker.secrets())
    yield from secrets
    service = speaker.service("evpn/evpn.service.j2", files, (*optional, *secrets))
    yield replace(service, stop_effect=_STOP_EFFECT, restarts_quietly=False)
    yield speaker.chain()


def speaker_of(inventory: Inventory, network: Network, host: str) -> Speaker:
    """The names and files of the speaker of one host."""
    return Speaker(inventory, network, host, PROGRAM)


def route_target(inventory: Inventory, network: Network) -> str:
    """The route target by which the hosts of the network know each other's routes.

    Its first number has 16 bits where the second has the 24 of a VNI (RFC 4360).
    """
    asn = speaker_options(network).asn
    return f"{asn if asn < _TWO_BYTES else _TARGET_ASN}:{vni(inventory, network)}"


def _bgpd_conf(speaker: Speaker, facts: HostFacts) -> str:
    inventory, network = speaker.inventory, speaker.network
    return render(
        "evpn/bgpd.conf.j2",
        mark=speaker.mark,
        asn=speaker_options(network).asn,
        address=inventory.hosts[speaker.host].address,
        peers=speaker.peers,
        neighbors=speaker.neighbors,
        ranges=speaker.callers(facts),
        reflects=speaker.reflects,
        group=GROUP,
        bfd=speaker_options(network).bfd,
        vni=vni(inventory, network),
        target=route_target(inventory, network),
    )


def _program(speaker: Speaker) -> File:
    inventory, network = speaker.inventory, speaker.network
    return speaker.program_file(
        "evpn/evpn.sh.j2",
        of_router_password="",
        docker=docker_name(docker_bridge.docker_network(network, speaker.host)),
        bridge=docker_bridge.bridge_name(inventory, network),
        device=device_name(inventory, network),
        ask=ASK_CONTAINERS.strip(),
    )

"""The BGP speaker of one host: zebra, bgpd, their files and their firewall rule. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.facts.host import HostFacts
from provision.methods._shared.bgp_options import PORT
from provision.methods._shared.frr import GROUP, HOLD_S, Speaker
from provision.methods.bgp.options import KEPT, PROTOCOL, options
from provision.model.inventory import Inventory, Network
from provision.resources.base import Resource
from provision.resources.render import render

PROGRAM = "bgp"
"""The end of the names of the service and of its file of secrets."""


def resources(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Resource]:
    """The speaker of one host."""
    speaker = speaker_of(inventory, network, facts.host)
    bgpd = speaker.file("bgpd.conf", _bgpd_conf(inventory, network, facts))
    program = speaker.file("bgp.sh", _program(speaker), "0755")
    files, optional = (speaker.zebra(), bgpd, program), speaker.bfdd()
    yield from (*files, *optional)
    secrets = speaker.secrets()
    yield from secrets
    yield speaker.service(
        "bgp/bgp.service.j2",
        files,
        (*optional, *secrets),
        subnet=network.subnets[facts.host],
        cidr=network.cidr,
        protocol=PROTOCOL,
        kept=KEPT,
    )
    yield speaker.chain()


def speaker_of(inventory: Inventory, network: Network, host: str) -> Speaker:
    """The names and files of the speaker of one host."""
    return Speaker(inventory, network, host, PROGRAM)


def _bgpd_conf(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    speaker = speaker_of(inventory, network, facts.host)
    return render(
        "bgp/bgpd.conf.j2",
        mark=speaker.mark,
        asn=options(network).asn,
        address=inventory.hosts[facts.host].address,
        cidr=network.cidr,
        lengths=sorted({subnet.prefixlen for subnet in network.subnets.values()}),
        subnet=network.subnets[facts.host],
        peers=speaker.peers,
        ranges=speaker.callers(facts),
        reflects=speaker.reflects,
        group=GROUP,
        hold_s=HOLD_S,
        bfd=options(network).bfd,
    )


def _program(speaker: Speaker) -> str:
    return render(
        "bgp/bgp.sh.j2",
        mark=speaker.mark,
        config=speaker.path("bgpd.conf"),
        zebra=speaker.path("zebra.conf"),
        folder=speaker.run_folder,
        port=PORT if speaker.reflects else 0,
        bfdd=speaker.bfdd_path,
        asn=options(speaker.network).asn,
        peers=" ".join(speaker.peers),
        protocol=PROTOCOL,
        kept=KEPT,
        cidr=speaker.network.cidr,
        password=speaker.password_path,
        neighbors=" ".join(speaker.neighbors),
    )

"""The BGP speaker of one host: zebra, bgpd, their files and their firewall rule. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods._shared.bgp_options import reflectors
from provision.methods._shared.frr import GROUP, HOLD_S, Speaker
from provision.methods.bgp.options import (
    KEPT,
    PROTOCOL,
    Router,
    accepted_ranges,
    links,
    options,
    routers_of,
)
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.text import listed
from provision.resources.base import Resource
from provision.resources.kinds.file import File
from provision.resources.render import render

PROGRAM = "bgp"
"""The end of the names of the service and of its file of secrets."""
_STOP_EFFECT = "the routers reach no container of the host for some seconds"


def resources(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Resource]:
    """The speaker of one host."""
    speaker = speaker_of(inventory, network, facts.host)
    routers = routers_of(inventory, network, facts.host)
    bgpd = speaker.file("bgpd.conf", _bgpd_conf(inventory, network, facts))
    zebra = speaker.zebra(several_links=bool(links(network)))
    files = (zebra, bgpd, _program(speaker, routers))
    routed = routed_peers(inventory, network, facts.host)
    optional = speaker.bfdd(routed, several_links=bool(links(network)))
    yield from (*files, *optional)
    secrets = speaker.secrets()
    yield from secrets
    service = speaker.service(
        "bgp/bgp.service.j2",
        files,
        (*optional, *secrets),
        subnet=network.subnets[facts.host],
        protocol=PROTOCOL,
        kept=KEPT,
        routers=",".join(str(router.address) for router in routers),
        ranges=(network.cidr, *accepted_ranges(routers)),
    )
    if routers:
        service = replace(service, stop_effect=_STOP_EFFECT, restarts_quietly=False)
    yield service
    yield speaker.chain(router.address for router in routers)


def routed_peers(inventory: Inventory, network: Network, host: str) -> frozenset[IPv4Address]:
    """The addresses of the hosts on other links than that of `host`."""
    address, every = inventory.hosts[host].address, inventory.addresses[network.name]
    link = next((each for each in links(network) if address in each), None)
    return _beyond(every, link) if link else frozenset()


@lru_cache(1 << 8)
def _beyond(addresses: frozenset[IPv4Address], link: IPv4Network) -> frozenset[IPv4Address]:
    """The addresses that are not on a link, once for all hosts of it."""
    return frozenset(address for address in addresses if address not in link)


def router_problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield routers on no link of the host to its peers, and ranges that would cut off its own."""
    nics = docker_bridge.nics(inventory, network, facts)
    held_ranges = [
        held.network for nic in nics if nic in facts.links for held in facts.links[nic].addresses
    ]
    routers = routers_of(inventory, network, facts.host)
    for router in routers if nics else ():
        if not any(router.address in held for held in held_ranges):
            message = f"router {router.address} is not on the link of {listed(nics)} to its peers"
            hint = "write the router's address on that link"
            if not links(network):
                hint += ", or the ranges of all links as links"
            yield Problem(facts.host, message, hint)
    for accepted in accepted_ranges(routers):
        yield from _cut_off(accepted, facts)


def _cut_off(accepted: IPv4Network, facts: HostFacts) -> Iterator[Problem]:
    """A router must not lead away answers to the SSH login, nor packets for the host's links."""
    if facts.ssh_from is not None and facts.ssh_from in accepted:
        message = f"accept: {accepted} contains {facts.ssh_from}, from which you log in"
        hint = "write smaller ranges, without your own address"
        yield Problem(facts.host, message, hint)
    for link in facts.links.values():
        for held in link.addresses:
            # The kernel asks its table of own addresses first, so no route leads away a /32.
            if held.network.overlaps(accepted) and held.network.prefixlen < 32:
                message = f"accept: {accepted} overlaps {held.network} of its interface {link.name}"
                yield Problem(facts.host, message, "write smaller ranges, without the host's links")
                break


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
        routers=routers_of(inventory, network, facts.host),
        strict=options(network).strict,
        owners=_owners(inventory, network, facts.host),
        peers=speaker.peers,
        ranges=_callers(speaker, facts),
        reflects=speaker.reflects,
        group=GROUP,
        hold_s=HOLD_S,
        bfd=options(network).bfd,
    )


def _callers(speaker: Speaker, facts: HostFacts) -> tuple[object, ...]:
    """The ranges from which a reflector is called: a new host on one of the links is in them."""
    ranges = links(speaker.network)
    return ranges if ranges and speaker.reflects else speaker.callers(facts)


def _owners(inventory: Inventory, network: Network, host: str) -> tuple[tuple[str, str], ...]:
    """The addresses of the hosts that call a strict reflector, each with the host's subnet."""
    if not options(network).strict or host not in reflectors(network):
        return ()
    return tuple(
        (str(inventory.hosts[name].address), str(subnet))
        for name, subnet in network.subnets.items()
        if name not in reflectors(network)
    )


def _hops(routers: tuple[Router, ...]) -> tuple[tuple[IPv4Network, tuple[str, ...]], ...]:
    """The accepted ranges, each with the routers to which its routes may lead."""
    return tuple(
        (
            accepted,
            tuple(
                str(router.address)
                for router in routers
                if any(accepted.subnet_of(each) for each in router.accept or ())
            ),
        )
        for accepted in accepted_ranges(routers)
    )


def _program(speaker: Speaker, routers: tuple[Router, ...]) -> File:
    network = speaker.network
    called = tuple(str(router.address) for router in routers)
    shared = called if "router_password" not in network.secrets else ()
    return speaker.program_file(
        "bgp/bgp.sh.j2",
        peers=" ".join((*speaker.peers, *called)),
        routers=",".join(called),
        ranges=" ".join(map(str, (network.cidr, *accepted_ranges(routers)))),
        accepted=_hops(routers),
        protocol=PROTOCOL,
        kept=KEPT,
        cidr=network.cidr,
        of_password=" ".join((*speaker.neighbors, *shared)),
        of_router_password=" ".join(called),
        keys=tuple(network.secrets),
    )

"""The ports of a BGP speaker, and the packets that its host's firewalls must let through. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge, firewall_needs
from provision.methods._shared.bgp_options import (
    BFD_MULTIHOP_PORT,
    BFD_PORT,
    PORT,
    reflectors,
    speaker_options,
)
from provision.model.inventory import Inventory, Network
from provision.model.needs import Inbound, Need


def needs(
    inventory: Inventory, network: Network, facts: HostFacts, links: Iterable[IPv4Network] = ()
) -> Iterator[Need]:
    """Yield the packets of BGP and BFD that the firewalls of one host must let through.

    `links` are the ranges of the hosts' links, if there are several. Their addresses may call, so
    that a new host on any of them changes no other host.
    """
    nics = docker_bridge.nics(inventory, network, facts)
    pairs = [(nic, link) for nic in nics for link in links]
    routed = pairs or behind_routers(inventory, network, facts)
    bfd_ports = (BFD_PORT, BFD_MULTIHOP_PORT) if routed else (BFD_PORT,)
    for nic, source in pairs or firewall_needs.sources(inventory, network, facts):
        if speaker_options(network).bfd:
            yield Inbound("udp", bfd_ports, source, nic)
        if facts.host in reflectors(network):
            yield Inbound("tcp", (PORT,), source, nic)


def ports(network: Network, host: str) -> tuple[str, ...]:
    """Ports of the host that the speaker takes: bfdd opens both of BFD."""
    numbers = (BFD_PORT, BFD_MULTIHOP_PORT) if speaker_options(network).bfd else ()
    bfd = tuple(f"udp/{number}" for number in numbers)
    return (*((f"tcp/{PORT}",) if host in reflectors(network) else ()), *bfd)


def behind_routers(
    inventory: Inventory, network: Network, facts: HostFacts
) -> frozenset[IPv4Address]:
    """The addresses of the hosts with a session to which the host's routes lead by a router.

    A host has sessions with the reflectors, and a reflector with all: `bgp_sessions.partners`.
    """
    known = reflectors(network)
    partners = inventory.addresses[network.name]
    if facts.host not in known:
        partners = frozenset(inventory.hosts[name].address for name in known)
    routed = [peers for route, peers in facts.peer_routes.groups.items() if route.via]
    return frozenset().union(*routed) & partners

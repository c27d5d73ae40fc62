"""The packets of a network that the firewalls of a host must let through. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.model.inventory import Inventory, Network
from provision.model.needs import Inbound, Need, Transit
from provision.model.tunnel import Tunnel


def of_tunnel(
    inventory: Inventory, network: Network, facts: HostFacts, tunnel: Tunnel
) -> Iterator[Need]:
    """Yield the packets of a tunnel, from the peers by the links to them."""
    protocol, ports = (tunnel.protocol, ()) if not tunnel.port else ("udp", (tunnel.port,))
    for nic, source in sources(inventory, network, facts):
        yield Inbound(protocol, ports, source, nic)


def of_tcp(
    inventory: Inventory, network: Network, facts: HostFacts, ports: tuple[int, ...]
) -> Iterator[Need]:
    """Yield connections of the peers to a daemon of this host."""
    for nic, source in sources(inventory, network, facts):
        yield Inbound("tcp", ports, source, nic)


def of_udp(
    inventory: Inventory, network: Network, facts: HostFacts, ports: tuple[int, ...]
) -> Iterator[Need]:
    """Yield packets of the peers to a daemon of this host."""
    for nic, source in sources(inventory, network, facts):
        yield Inbound("udp", ports, source, nic)


def of_routes(
    inventory: Inventory, network: Network, facts: HostFacts, links: tuple[str, ...]
) -> Iterator[Need]:
    """Yield the packets of other hosts' containers, which come in by `links`."""
    bridge = docker_bridge.bridge_name(inventory, network)
    subnet, exists = network.subnets[facts.host], bridge in facts.links
    for link in links:
        yield Transit(network.cidr, subnet, link, bridge, exists=exists)


def sources(
    inventory: Inventory, network: Network, facts: HostFacts
) -> list[tuple[str, IPv4Network]]:
    """The links to the peers, each with the ranges that hold the addresses of the peers there.

    The range of a link that has the peers on it: a rule for each peer would be many rules.
    """
    pairs: set[tuple[str, IPv4Network]] = set()
    for peer in network.hosts:
        address = inventory.hosts[peer].address
        if peer != facts.host and address in facts.peer_routes:
            nic = facts.peer_routes[address].dev
            pairs.add((nic, _range(facts, nic, address)))
    return sorted(pairs)


def _range(facts: HostFacts, nic: str, address: IPv4Address) -> IPv4Network:
    held = facts.links[nic].addresses if nic in facts.links else ()
    ranges = (interface.network for interface in held)
    return next((r for r in ranges if address in r), IPv4Network(address))

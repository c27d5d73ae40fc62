"""The packets of a network that the firewalls of a host must let through. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.model.inventory import Inventory, Network
from provision.model.needs import Inbound, Need, Transit
from provision.model.tunnel import Tunnel


def of_tunnel(
    inventory: Inventory, network: Network, facts: HostFacts, tunnel: Tunnel | None
) -> Iterator[Need]:
    """Yield the packets of a tunnel, from the peers by the links to them; of none, nothing."""
    if tunnel is None:
        return
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
    addresses, address = inventory.addresses[network.name], inventory.hosts[facts.host].address
    for route, peers in facts.peer_routes.groups.items():
        held = facts.links[route.dev].addresses if route.dev in facts.links else ()
        ranges = tuple(interface.network for interface in held)
        counted = _ranges(peers, addresses, ranges)
        # The set of the peers has this host's address, too.
        alone = _range(address, ranges) if address in peers and address in addresses else None
        pairs |= {
            (route.dev, source) for source, number in counted.items()
            if number > 1 or source != alone
        }  # fmt: skip
    return sorted(pairs)


@lru_cache(1 << 10)
def _ranges(
    peers: frozenset[IPv4Address],
    addresses: frozenset[IPv4Address],
    ranges: tuple[IPv4Network, ...],
) -> Mapping[IPv4Network, int]:
    """The ranges of those peers that are among `addresses`, each with the number of peers in it.

    Once for the hosts of a fleet that reach the same peers by NICs with the same ranges.
    """
    return Counter(_range(peer, ranges) for peer in peers & addresses)


def _range(address: IPv4Address, ranges: Iterable[IPv4Network]) -> IPv4Network:
    return next((r for r in ranges if address in r), IPv4Network(address))

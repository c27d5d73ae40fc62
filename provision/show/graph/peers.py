"""Routes and tunnels that lead from one host of a view to another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple, TypeVar

from provision.facts.topology import (
    HostTopology,
    NamespaceLink,
    NamespaceRoute,
    TunnelEnd,
    WireguardEnd,
    WireguardPeer,
)
from provision.model.inventory import Network
from provision.show.view import BRIDGES, View, bridge

WIREGUARD = "wireguard"
"""The kind of the kernel's WireGuard devices."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RouteToPeers:
    """A route by which a bridge's packets reach the network's bridges on `peers`."""

    network: Network
    bridge: NamespaceLink
    route: NamespaceRoute
    peers: tuple[str, ...]


class _KnownPeers(NamedTuple):
    """The peers of a WireGuard device: their keys, and the peer of each range."""

    keys: frozenset[str]
    by_range: Mapping[IPv4Network, WireguardPeer]


@dataclass(frozen=True)
class Peers:
    """The hosts of a view as each other's peers."""

    view: View

    @cached_property
    def _host_by_address(self) -> Mapping[IPv4Address, str]:
        """The host that has an address; those that several hosts have (docker0) are left out."""
        owners: dict[IPv4Address, set[str]] = {}
        for host, topology in self.view.topologies.items():
            for address in topology.root.addresses:
                owners.setdefault(address, set()).add(host)
        unique = {address: hosts.pop() for address, hosts in owners.items() if len(hosts) == 1}
        inventory = self.view.inventory.hosts
        return unique | {inventory[host].address: host for host in inventory}

    @cached_property
    def _routes(self) -> Mapping[str, Mapping[IPv4Network, NamespaceRoute]]:
        """The routes of each host by their range, for look-ups of the longest prefix."""
        return {
            host: dict(_ranges(topology.root.routes))
            for host, topology in self.view.topologies.items()
        }

    def host(self, address: IPv4Address) -> str:
        """The host that has an address; empty if none of the view or the inventory has it."""
        return self._host_by_address.get(address, "")

    def route(self, host: str, network: IPv4Network) -> NamespaceRoute | None:
        """The route by which a host's packets to a network leave."""
        return _longest(self._routes.get(host, {}), network)

    def egress(self, host: str, remote: IPv4Address) -> NamespaceLink | None:
        """The interface by which a host's packets to an address leave."""
        route = self.route(host, IPv4Network(remote))
        return self.view.topologies[host].root.link(route.dev) if route else None

    def routes(self, host: str) -> Iterator[RouteToPeers]:
        """Yield the routes of a host to the bridges of its networks on other hosts."""
        topology = self.view.topologies[host]
        for network in self.view.inventory.networks.values():
            own = bridge(topology, network) if host in network.hosts else None
            peers: dict[NamespaceRoute, list[str]] = {}
            for peer in network.hosts if own else ():
                route = self._peer_route(host, peer, network)
                # On one layer 2 the bridge itself leads to the peers.
                if route and own and route.dev != own.name and self._leaves(topology, route):
                    peers.setdefault(route, []).append(peer)
            for route, reached in peers.items():
                assert own is not None
                yield RouteToPeers(network, own, route, tuple(reached))

    def _peer_route(self, host: str, peer: str, network: Network) -> NamespaceRoute | None:
        subnet = self.subnet(peer, network)
        route = self.route(host, subnet) if peer != host and subnet else None
        # A default route is of the host, not of the network: it is not drawn as a way to the peer.
        return route if route and route.dst != "default" else None

    def _leaves(self, topology: HostTopology, route: NamespaceRoute) -> bool:
        """True unless the range is on the host's own link."""
        return bool(route.via) or tunnel_of(topology, route.dev) is not None

    def subnet(self, host: str, network: Network) -> IPv4Network | None:
        """The subnet of a host's bridge of a network; the inventory's if it cannot be seen."""
        topology = self.view.topologies.get(host)
        link = bridge(topology, network) if topology else None
        held = (interface.network for interface in link.addresses) if link else iter(())
        return next(held, network.subnets.get(host))

    def delivers(self, host: str, peer_route: RouteToPeers, peer: str) -> bool:
        """True if a host's packets by a route arrive at a peer, as far as its end can be seen."""
        if peer not in self.view.topologies:
            return True
        route = peer_route.route
        if tunnel := tunnel_of(self.view.topologies[host], route.dev):
            if tunnel.wireguard:
                return self._by_wireguard(host, tunnel, tunnel.wireguard, peer_route.network, peer)
            return self.reaches(host, tunnel, peer)
        held = self.view.topologies[peer].root.addresses
        return IPv4Address(route.via) in held and self.connected(host, peer)

    def _by_wireguard(
        self, host: str, tunnel: TunnelEnd, end: WireguardEnd, network: Network, peer: str
    ) -> bool:
        """The same by a WireGuard device, which may send to a host that passes the packets on."""
        subnet = self.subnet(peer, network)
        known = _longest(self._known[id(end)].by_range, subnet) if subnet else None
        if known is None:
            return False
        relay = self._host_by_key.get(known.public)
        if relay is None:  # of a host that cannot be seen, or of none
            return not set(network.hosts) <= self.view.topologies.keys()
        ends = self.view.topologies[relay].tunnels
        passes_on = relay == peer or any(
            self.reaches(relay, further, peer) for further in ends if further.wireguard
        )
        return passes_on and self.reaches(host, tunnel, relay)

    def reaches(self, host: str, tunnel: TunnelEnd, peer: str) -> bool:
        """True if a peer of the view has the other end of a tunnel."""
        return any(self.fits(host, tunnel, peer, end) for end in self.view.topologies[peer].tunnels)

    def fits(self, host: str, tunnel: TunnelEnd, peer: str, end: TunnelEnd) -> bool:
        """True if two ends of tunnels work, send to each other, and the NICs carry packets."""
        same = (_protocol(tunnel), tunnel.key) == (_protocol(end), end.key)
        working = not tunnel.error and not end.error
        return (
            same and working and self._sends(tunnel, peer, end) and self._sends(end, host, tunnel)
            and self.connected(host, peer)
        )  # fmt: skip

    def _sends(self, tunnel: TunnelEnd, peer: str, end: TunnelEnd) -> bool:
        """True if a tunnel sends to the end of a peer: WireGuard knows it by its key.

        The program behind a `tun` device knows its peers, and `wg` those of WireGuard.
        """
        if tunnel.wireguard and end.wireguard:
            return end.wireguard.public in self._known[id(tunnel.wireguard)].keys
        return tunnel.kind in ("tun", WIREGUARD) or peer in map(self.host, tunnel.remotes)

    def remotes(self, tunnel: TunnelEnd) -> tuple[IPv4Address, ...]:
        """The addresses of the hosts to which a tunnel sends; those of WireGuard by their keys."""
        if tunnel.wireguard is None:
            return tunnel.remotes
        hosts = self.view.inventory.hosts
        known = ((self._host_by_key.get(p.public), p.endpoint) for p in tunnel.wireguard.peers)
        addresses = (hosts[host].address if host else endpoint for host, endpoint in known)
        return tuple(filter(None, addresses))

    @cached_property
    def _known(self) -> Mapping[int, _KnownPeers]:
        """The peers of each WireGuard device of the view, by the identity of its end."""
        ends = (end for topology in self.view.topologies.values() for end in topology.tunnels)
        return {
            id(end.wireguard): _KnownPeers(
                frozenset(peer.public for peer in end.wireguard.peers),
                {allowed: peer for peer in end.wireguard.peers for allowed in peer.allowed},
            )
            for end in ends
            if end.wireguard
        }

    @cached_property
    def _host_by_key(self) -> Mapping[str, str]:
        """The host of each WireGuard device, by the device's public key."""
        return {
            end.wireguard.public: host
            for host, topology in self.view.topologies.items()
            for end in topology.tunnels
            if end.wireguard
        }

    def connected(self, host: str, peer: str) -> bool:
        """True if the interfaces between two hosts are up."""
        inventory = self.view.inventory.hosts
        ends = ((host, inventory[peer].address), (peer, inventory[host].address))
        links = [(end, self.egress(end, remote)) for end, remote in ends]
        return all(link and is_working(self.view.topologies[end], link) for end, link in links)


def _ranges(
    routes: tuple[NamespaceRoute, ...],
) -> Iterator[tuple[IPv4Network, NamespaceRoute]]:
    """Yield each IPv4 route that has an interface. The first of a range is the one in use."""
    for route in reversed(routes):
        text = "0.0.0.0/0" if route.dst == "default" else route.dst
        if route.dev and ":" not in text:
            yield IPv4Network(text, strict=False), route


def _longest(by_range: Mapping[IPv4Network, _T], network: IPv4Network) -> _T | None:
    """What the longest range has that contains a network."""
    for prefix in range(network.prefixlen, -1, -1):
        if entry := by_range.get(network.supernet(new_prefix=prefix)):
            return entry
    return None


def _protocol(tunnel: TunnelEnd) -> str:
    """What two ends of a tunnel have to speak: the device of wireguard-go is a `tun`."""
    return WIREGUARD if tunnel.wireguard else tunnel.kind


def tunnel_of(topology: HostTopology, device: str) -> TunnelEnd | None:
    """The kernel's tunnel device of this name."""
    return next((end for end in topology.tunnels if end.device == device), None)


def is_working(topology: HostTopology, link: NamespaceLink) -> bool:
    """True if an interface carries packets: a bridge by one of its ports."""
    if not link.up or not link.carrier:
        return False
    ports = topology.ports(link.name) if link.kind in BRIDGES else ()
    return not ports or any(port.up and port.carrier for port in ports)

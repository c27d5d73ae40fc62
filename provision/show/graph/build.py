"""The nodes and edges of one host's graph. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from provision.facts.topology import (
    OVS_BRIDGE,
    HostTopology,
    NamespaceLink,
    TunnelEnd,
)
from provision.facts.tunnel_probe import TUNNELS
from provision.model.errors import HostError
from provision.model.grouping import grouped
from provision.model.inventory import Network, further_members
from provision.model.terminal import printable
from provision.show.graph.containers import ContainerGraph
from provision.show.graph.lans import is_artefact, link_id, pair_end
from provision.show.graph.model import Edge, GraphNode, HostGraph, Id
from provision.show.graph.peers import WIREGUARD, Peers, RouteToPeers, is_working
from provision.show.graph.verdict import Verdict
from provision.show.members import other_members
from provision.show.view import BRIDGES, bridge, docker_network

VLAN = "vlan"
"""The kind of interfaces that are a VLAN of another one."""


class HostGraphBuilder:
    """Builds the graph of one host.

    The id of a node is `prefix` and the interface's index, or the position of the container, of
    the tunnel port or of the route.
    """

    def __init__(self, peers: Peers, host: str, prefix: str, verdict: Verdict) -> None:
        self.peers, self.view, self.host, self.prefix = peers, peers.view, host, prefix
        self.verdict = verdict
        self.address = str(self.view.inventory.hosts[host].address)
        topology = self.view.topologies.get(host)
        self.tunnels: tuple[TunnelEnd, ...] = ()
        self.routes: tuple[RouteToPeers, ...] = ()
        if topology:
            self.topology: HostTopology = topology
            self.routes = tuple(peers.routes(host))
            self.tunnels = tuple(self._drawn_tunnels())

    def empty(self, error: HostError) -> HostGraph:
        """The graph of a host that did not answer."""
        problem = printable(" ".join(error.message.split()))
        verdict = self.verdict.host(self.host)
        return HostGraph(self.host, self.address, problem=problem, verdict=verdict)

    def graph(self) -> HostGraph:
        """The graph of a host that answered."""
        inventory = self.view.inventory
        members = grouped(other_members(inventory, self.topology), lambda member: member.container)
        further = {
            container.name: [member.name for member in further_members(container)]
            for container in inventory.containers.values()
        }
        containers = ContainerGraph(
            self.prefix, self.topology, inventory.name, self.verdict, members, further
        )
        nodes = (*self._link_nodes(), *containers.nodes())
        ids = {node.id for node in nodes}
        edges = (
            *self._ports(), *self._pairs(), *self._exits(),
            *containers.veths(), *containers.shares(),
        )  # fmt: skip
        problems = filter(None, (self.topology.docker_error, self.topology.ovs_error))
        return HostGraph(
            self.host,
            self.address,
            nodes,
            tuple(edge for edge in edges if {edge.source, edge.target} <= ids),
            printable("; ".join(problems)),
            self.verdict.host(self.host),
        )

    def bridge(self, network: Network) -> NamespaceLink | None:
        """The host's bridge of a network, if the host answered."""
        topology = self.view.topologies.get(self.host)
        return bridge(topology, network) if topology else None

    def link_id(self, link: NamespaceLink) -> Id:
        """The id of the node of an interface."""
        return link_id(self.prefix, link)

    def tunnel_id(self, tunnel: TunnelEnd) -> Id:
        """The id of the node of a tunnel: of its interface, where it has one."""
        if tunnel.device:
            return self.link_id(self._device(tunnel.device))
        return f"{self.prefix}_t{self.topology.tunnels.index(tunnel)}"

    def route_id(self, number: int) -> Id:
        """The id of the node of one of `routes`."""
        return f"{self.prefix}_r{number}"

    def _device(self, name: str) -> NamespaceLink:
        link = self.topology.root.link(name)
        assert link is not None, name
        return link

    def _drawn_tunnels(self) -> Iterator[TunnelEnd]:
        """Yield the tunnels with their peers: a `tun` device with those of the routes by it."""
        for end in self.topology.tunnels:
            if end.device and is_artefact(self._device(end.device)):
                continue
            if end.kind in ("tun", WIREGUARD) and end.wireguard is None:
                routes = (entry for entry in self.routes if entry.route.dev == end.device)
                hosts = dict.fromkeys(peer for entry in routes for peer in entry.peers)
                inventory = self.view.inventory.hosts
                yield replace(end, remotes=tuple(inventory[peer].address for peer in hosts))
            else:
                yield replace(end, remotes=self.peers.remotes(end))

    def _link_nodes(self) -> Iterator[GraphNode]:
        """Yield the interfaces, each bridge followed by the tunnels and routes of its packets."""
        devices = {end.device for end in self.topology.tunnels}
        for link in self.topology.root.links:
            if is_node(self.topology, link) and link.name not in devices:
                yield self._link_node(link)
            if link.kind in BRIDGES:
                ports = (end for end in self.tunnels if end.bridge == link.name)
                yield from map(self._tunnel_node, ports)
                for number, peer_route in enumerate(self.routes):
                    if peer_route.bridge == link:
                        yield self._route_node(number, peer_route)
        bridges = {link.name for link in self.topology.root.links if link.kind in BRIDGES}
        yield from (self._tunnel_node(end) for end in self.tunnels if end.bridge not in bridges)

    def _link_node(self, link: NamespaceLink) -> GraphNode:
        kind = "bridge" if link.kind in BRIDGES else "nic"
        paired = pair_end(self.topology, link) or self.topology.container_end(link)
        kind = "link" if paired or link.kind in TUNNELS else kind
        network = docker_network(self.topology, link) if kind == "bridge" else ""
        network = "Open vSwitch" if link.kind == OVS_BRIDGE else network
        suffix = f" ({network})" if network else ""
        state = self._state(link, kind)
        name = f"{link.name}{suffix}{f' {state}' if state else ''}"
        held = tuple(str(address) for address in link.addresses)
        names = (link.name, network) if network else (link.name,)
        return GraphNode(
            self.link_id(link), kind, tuple(map(printable, (name, *held))),
            self.verdict.resource(self.host, *names), up=not state,
            properties={"name": link.name, "addresses": list(held)},
        )  # fmt: skip

    def _state(self, link: NamespaceLink, kind: str) -> str:
        """Why an interface carries no packet; empty if it does."""
        if link.kind == OVS_BRIDGE:
            # The bridge's own interface, which only an address of the host needs, may be down:
            # Open vSwitch forwards between the other ports all the same.
            return "DOWN" if self.topology.ovs_error else ""
        if not link.up:
            return "DOWN"
        return "NO CARRIER" if kind == "nic" and not link.carrier else ""

    def _tunnel_node(self, tunnel: TunnelEnd) -> GraphNode:
        name = f"{tunnel.name} ({tunnel.kind}){f' {tunnel.error}' if tunnel.error else ''}"
        link = self.topology.root.link(tunnel.device)
        held = tuple(str(address) for address in link.addresses) if link else ()
        remotes = [self._remote_text(tunnel, remote) for remote in tunnel.remotes]
        peers = [
            {"host": self.peers.host(remote) or None, "address": str(remote)}
            for remote in tunnel.remotes
        ]
        return GraphNode(
            self.tunnel_id(tunnel), "tunnel", tuple(map(printable, (name, *held, *remotes))),
            self.verdict.resource(self.host, tunnel.name), up=not tunnel.error,
            properties={"name": tunnel.name, "addresses": list(held), "type": tunnel.kind,
                        "peers": peers},
        )  # fmt: skip

    def _remote_text(self, tunnel: TunnelEnd, remote: IPv4Address) -> str:
        peer = self.peers.host(remote)
        broken = peer in self.view.topologies and not self.peers.reaches(self.host, tunnel, peer)
        return " ".join(filter(None, ("→", peer, str(remote), "BROKEN" if broken else "")))

    def _route_node(self, number: int, peer_route: RouteToPeers) -> GraphNode:
        route = peer_route.route
        via = f" via {route.via}" if route.via else ""
        name = f"{route.dst}{via} dev {route.dev}"
        peers = ", ".join(
            peer if self.peers.delivers(self.host, peer_route, peer) else f"{peer} BROKEN"
            for peer in peer_route.peers
        )
        link = self.topology.root.link(route.dev)
        return GraphNode(
            self.route_id(number), "route", tuple(map(printable, (name, f"→ {peers}"))),
            self.verdict.resource(self.host, route.dst),
            up=bool(link and is_working(self.topology, link)),
            properties={"name": route.dst, "to": route.dst, "via": route.via or None,
                        "dev": route.dev},
        )  # fmt: skip

    def _ports(self) -> Iterator[Edge]:
        for link in self.topology.root.links:
            # The frames of a VLAN of a NIC leave by the NIC.
            names = (link.master, link.lower if link.kind == VLAN else "")
            for below in filter(None, map(self.topology.root.link, names)):
                if is_node(self.topology, link):
                    yield Edge(self.link_id(link), self.link_id(below), "port")
        for tunnel in self.tunnels:
            master = self.topology.root.link(tunnel.bridge)
            if master and not tunnel.device:
                yield Edge(self.tunnel_id(tunnel), self.link_id(master), "port")

    def _pairs(self) -> Iterator[Edge]:
        """Yield the veth pairs of which both ends are on the host, each once."""
        for link in self.topology.root.links:
            other = pair_end(self.topology, link)
            if other and self._is_first(link, other):
                root = self.topology.root
                source, target = (root.link(end.master) or end for end in (link, other))
                label = printable(f"{link.name} ═ {other.name}")
                up = link.up and other.up and link.carrier
                yield Edge(self.link_id(source), self.link_id(target), "veth", label, up=up)

    def _is_first(self, link: NamespaceLink, other: NamespaceLink) -> bool:
        """True for the end that the drawing starts at: the port of the bridge of containers."""
        masters = [self.topology.root.link(end.master) for end in (link, other)]
        ranks = [(not master or master.kind == OVS_BRIDGE) for master in masters]
        return (ranks[0], link.index) < (ranks[1], other.index)

    def _exits(self) -> Iterator[Edge]:
        """Yield the edges from bridges to routes, and from routes and tunnels to interfaces."""
        for number, peer_route in enumerate(self.routes):
            node_id = self.route_id(number)
            yield Edge(self.link_id(peer_route.bridge), node_id, "route")
            link = self.topology.root.link(peer_route.route.dev)
            if link:
                yield Edge(node_id, self.link_id(link), "over", up=is_working(self.topology, link))
        for tunnel in self.tunnels:
            leaving = (self.peers.egress(self.host, remote) for remote in tunnel.remotes)
            for link in dict.fromkeys(filter(None, leaving)):
                up = is_working(self.topology, link)
                yield Edge(self.tunnel_id(tunnel), self.link_id(link), "over", up=up)


def is_node(topology: HostTopology, link: NamespaceLink) -> bool:
    """True if an interface is a node. A veth end that is a port of a bridge is an edge's label."""
    if link.name == "lo" or is_artefact(link):
        return False
    paired = topology.container_end(link) or pair_end(topology, link)
    return not (paired and link.master)

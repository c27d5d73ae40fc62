"""The devices that a probe and its answer should pass, from the inventory and the topologies. Pure.

A leg is the part of the path on one host, from the end outwards to the NIC. The path is expected,
not found: a route or a port that is missing does not shorten it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision import methods
from provision.checks.explain.ends import EndSpace
from provision.checks.explain.model import HOST, Point
from provision.facts.topology import OVS_BRIDGE, HostTopology, NamespaceLink, TunnelEnd
from provision.facts.tunnel_probe import TUNNELS
from provision.model.inventory import Inventory, Network

_BRIDGES = ("bridge", OVS_BRIDGE)
_BACK = {"encapsulate": "decapsulate", "send": "receive"}
_TUNNEL_KINDS = {"udp": "tun"}
"""The kind of the kernel's device for a tunnel that a program carries."""


@dataclass(frozen=True, slots=True)
class Part:
    """A device of a leg. `inner`: a packet that leaves the host comes in by it, as by a veth.

    `step` is how a packet that leaves comes to it from the part before.
    """

    space: str
    device: str
    inner: bool
    step: str


@dataclass(frozen=True, slots=True)
class Side:
    """One end with its host; `link` is a container's interface, `peer_nic` the far NIC."""

    inventory: Inventory
    host: str
    topology: HostTopology
    end_space: EndSpace
    link: NamespaceLink | None
    network: Network | None
    peer_nic: str = ""
    exit_device: str = ""
    """The interface by which packets leave for an address outside of the inventory."""

    @property
    def bridge(self) -> str:
        """The bridge that the container's interface should be a port of."""
        mode = self.end_space.info.mode if self.end_space.info else ""
        name = self.topology.bridges.get(mode, "")
        end = self.host_end
        if self.link is not None and name and self._is_dockers(name):
            return name
        return end.master if end else name

    def _is_dockers(self, bridge: str) -> bool:
        """True unless the interface is one of `interfaces`, which Docker does not know."""
        link, end = self.topology.root.link(bridge), self.host_end
        if link is None or end is None or end.master == bridge or self.link is None:
            return True
        held = [a.network for a in link.addresses]
        return any(a.ip in network for a in self.link.addresses for network in held)

    @property
    def host_end(self) -> NamespaceLink | None:
        """The host's end of the container's veth."""
        return self.topology.host_end(self.link) if self.link else None

    @property
    def nic(self) -> tuple[str, str]:
        """The interface that has the host's address, and the NIC below it; often the same."""
        root, host = self.topology.root, self.inventory.hosts[self.host]
        if self.exit_device:
            return self.exit_device, self.exit_device
        holder = next((x for x in root.links if host.address in (a.ip for a in x.addresses)), None)
        if holder is None:
            return (name := host.nic or self.peer_nic or "eth0"), name
        if holder.kind not in _BRIDGES:
            return holder.name, holder.name
        ports = self.topology.ports(holder.name)
        same = [port.name for port in ports if port.mac == holder.mac and port.kind not in TUNNELS]
        inner = {end.name for c in self.topology.namespace_owners() for end in self._ends(c.net)}
        outer = [port.name for port in ports if port.name not in inner and not port.lower]
        return holder.name, next(iter(same + outer), holder.name)

    def _ends(self, inode: int) -> Iterator[NamespaceLink]:
        for link in self.topology.namespaces[inode].links:
            if end := self.topology.host_end(link):
                yield end

    @property
    def tunnel(self) -> TunnelEnd | None:
        """The host's end of the tunnel of the network; None if packets travel unwrapped."""
        declared = methods.of(self.network).tunnel(self.network) if self.network else None
        if declared is None or self.network is None:
            return None
        kind = _TUNNEL_KINDS.get(declared.protocol, declared.protocol)
        ends = [e for e in self.topology.tunnels if e.kind == kind]
        if methods.of(self.network).single_l2(self.network):
            bridges = {self.bridge or self.network_bridge, *self._beyond(self.bridge)}
            ends = [e for e in ends if e.bridge in bridges] or [e for e in ends if not e.bridge]
        else:
            ends = [e for e in ends if not e.bridge and e.device]
            routed = {r.dev for r in self.topology.root.routes if self._is_peers(r.dst)}
            if declared.optional and routed and not routed & {e.device for e in ends}:
                return None
            subnet = self.network.subnets.get(self.host)
            held = [
                e for e in ends
                if (link := self.topology.root.link(e.device)) and subnet
                and any(a.ip in self.network.cidr for a in link.addresses)
            ]  # fmt: skip
            ends = [e for e in ends if e.device in routed] or held or ends
        return next(iter(ends), None)

    @property
    def network_bridge(self) -> str:
        """The host's own bridge of the network, for an end that is the host."""
        if self.network is None:
            return ""
        name = self.topology.bridges.get(self.network.name, "")
        for link in self.topology.root.links:
            held = any(a.ip in self.network.cidr for a in link.addresses)
            if held and link.kind in _BRIDGES:
                return link.name
        return name

    def _is_peers(self, text: str) -> bool:

        if self.network is None or text == "default" or ":" in text:
            return False
        network = IPv4Network(text, strict=False)
        own_subnet = self.network.subnets.get(self.host)
        return network.overlaps(self.network.cidr) and not (
            own_subnet and network.overlaps(own_subnet)
        )

    def _beyond(self, bridge: str) -> Iterator[str]:
        """The bridges of Open vSwitch behind a veth that is a port of a bridge."""
        for port in self.topology.ports(bridge):
            far_end = self.topology.root.link(port.lower)
            if far_end is not None and far_end.master and far_end.master != bridge:
                yield far_end.master

    def crossing(self, bridge: str) -> list[Part]:
        """The two ends of the veth from a bridge to that of Open vSwitch."""
        for port in self.topology.ports(bridge):
            far_end = self.topology.root.link(port.lower)
            if port.kind == "veth" and far_end is not None and far_end.master not in ("", bridge):
                return [
                    Part(HOST, port.name, False, "bridge"),
                    Part(HOST, far_end.name, True, "veth"),
                ]
        return []


def leg(side: Side, *, local: bool = False) -> list[Part]:
    """The parts from an end to the NIC; `local`: only to the host itself."""
    parts, first = [], "send"
    if side.link is not None:
        parts.append(Part(side.end_space.label, side.link.name, False, "send"))
        if side.link.kind == "macvlan":
            parent = next((x for x in side.topology.root.links if x.index == side.link.peer), None)
            return [*parts, *([Part(HOST, parent.name, False, "macvlan")] if parent else [])]
        if side.host_end is not None:
            parts.append(Part(HOST, side.host_end.name, True, "veth"))
        first = "route"
    if local:
        return parts
    return [*parts, *_outwards(side, first)]


def _outwards(side: Side, first: str) -> list[Part]:
    holder, nic = side.nic
    bridge = side.bridge if side.link is not None else side.network_bridge
    into = [Part(HOST, bridge, side.link is not None, "bridge" if side.link else "send")]
    into = into if bridge else []
    tunnel = side.tunnel
    if side.network is not None and tunnel is not None:
        if methods.of(side.network).single_l2(side.network):
            before = [] if side.link is not None else into
            device = [Part(HOST, tunnel.device, False, "bridge")] if tunnel.device else []
            crossing = [] if tunnel.device else side.crossing(bridge)
            return [*before, *crossing, *device, Part(HOST, nic, False, "encapsulate")]
        before = into if side.link is not None else []
        device = [Part(HOST, tunnel.device, False, first)]
        return [*before, *device, *_nic(holder, nic, "encapsulate")]
    if side.link is not None and bridge and _has_port(side, bridge, nic):
        return [Part(HOST, nic, False, "bridge")]
    before = into if side.link is not None else []
    return [*before, *_nic(holder, nic, first)]


def _has_port(side: Side, bridge: str, nic: str) -> bool:
    """True if the packets leave by a port of the container's bridge, as on the hosts' LAN."""
    return side.network is not None and (
        bridge == side.nic[0] != nic or any(p.name == nic for p in side.topology.ports(bridge))
    )


def _nic(holder: str, nic: str, step: str) -> list[Part]:
    parts = [Part(HOST, holder, False, step)]
    return parts if holder == nic else [*parts, Part(HOST, nic, False, "bridge")]


def outgoing(host: str, parts: list[Part], *, reply: bool) -> list[Point]:
    """The points of a packet that leaves an end."""
    points = []
    for number, part in enumerate(parts):
        step = "answer" if reply and number == 0 else part.step
        points.append(Point(host, part.space, part.device, not part.inner, step, reply))
    return points


def incoming(host: str, parts: list[Part], step: str, *, reply: bool) -> list[Point]:
    """The points of a packet that comes to an end; `step` leads to the first of them."""
    points = []
    for part in reversed(parts):
        points.append(Point(host, part.space, part.device, part.inner, step, reply))
        step = _BACK.get(part.step, part.step)
    return points


def path(source: Side, target: Side | None) -> tuple[Point, ...]:
    """The points of the request, then those of the answer. `target` None: outside of the hosts."""
    if target is None:
        parts = leg(source)
        return (
            *outgoing(source.host, parts, reply=False),
            *incoming(source.host, parts, "wire", reply=True),
        )
    if source.host == target.host:
        near, far, step = _local(source, target)
    else:
        near, far, step = leg(source), leg(target), "wire"
    return (
        *outgoing(source.host, near, reply=False),
        *incoming(target.host, far, step, reply=False),
        *outgoing(target.host, far, reply=True),
        *incoming(source.host, near, step, reply=True),
    )


def _local(source: Side, target: Side) -> tuple[list[Part], list[Part], str]:
    """The legs of two ends on one host, and the step between them."""
    if source.end_space.label == target.end_space.label:
        return [Part(source.end_space.label, "lo", False, "send")], [], "send"
    near, far = leg(source, local=True), leg(target, local=True)
    if source.link is not None and target.link is not None and source.bridge == target.bridge:
        return near, far, "bridge"
    if source.link is not None and source.bridge:
        near.append(Part(HOST, source.bridge, True, "bridge"))
    if target.link is not None and target.bridge:
        far.append(Part(HOST, target.bridge, True, "bridge"))
    return near, far, "route" if source.link is not None and target.link is not None else "send"


def exit_device(topology: HostTopology, target: IPv4Address) -> str:
    """The interface of the host's route to an address; "" without a route."""
    best, device = -1, ""
    for route in topology.root.routes:
        if ":" in route.dst:
            continue
        network = IPv4Network("0.0.0.0/0" if route.dst == "default" else route.dst, strict=False)
        if target in network and network.prefixlen > best:
            best, device = network.prefixlen, route.dev
    return device


def destination_network(
    inventory: Inventory, source: EndSpace, target: IPv4Address
) -> Network | None:
    """The network in whose range both ends have an address."""
    for network in inventory.networks.values():
        if target in network.cidr and any(a in network.cidr for a in source.space.addresses):
            return network
    return None

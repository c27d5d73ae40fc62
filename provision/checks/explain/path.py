"""The devices that a probe and its answer should pass, from the inventory and the topologies. Pure.

A leg is the part of the path on one host, from the end outwards to the NIC. The path is expected,
not found: a route or a port that is missing does not shorten it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision import methods
from provision.checks.explain.ends import EndSpace
from provision.checks.explain.model import HOST, Point
from provision.checks.explain.sides import Side
from provision.facts.topology import HostTopology
from provision.model.inventory import Inventory, Network

_BACK = {"encapsulate": "decapsulate", "send": "receive"}


@dataclass(frozen=True, slots=True)
class Part:
    """A device of a leg. `inner`: a packet that leaves the host comes in by it, as by a veth.

    `step` is how a packet that leaves comes to it from the part before.
    """

    space: str
    device: str
    inner: bool
    step: str


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
            crossing = [] if tunnel.device else _crossing(side, bridge)
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


def _crossing(side: Side, bridge: str) -> list[Part]:
    """The two ends of the veth from a bridge to that of Open vSwitch."""
    for port in side.topology.ports(bridge):
        far_end = side.topology.root.link(port.lower)
        if port.kind == "veth" and far_end is not None and far_end.master not in ("", bridge):
            return [
                Part(HOST, port.name, False, "bridge"),
                Part(HOST, far_end.name, True, "veth"),
            ]
    return []


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

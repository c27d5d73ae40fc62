"""Causes in interfaces: links that are down, wrong ports of bridges, MTUs, neighbours. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from provision import methods
from provision.checks.explain import lookups
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause, Point
from provision.facts.topology import OVS_BRIDGE
from provision.facts.tunnel_probe import TUNNELS
from provision.model.inventory import Network

_UNRESOLVED = ("FAILED", "INCOMPLETE")


def down(case: Case, points: Iterable[Point]) -> Iterator[Cause]:
    """Yield the interfaces that are missing, down, or without carrier."""
    later = []
    for point in dict.fromkeys(points):
        space = case.space(point)
        link = space.link(point.device)
        if not space.links:
            continue
        if link is None:
            yield _missing(case, point)
        elif "UP" not in link["flags"]:
            yield _down(point, link)
        elif "NO-CARRIER" in link["flags"] and _kind(link) != "bridge":
            later.append(_without_carrier(point))
    yield from later


def _kind(link: Mapping[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _missing(case: Case, point: Point) -> Cause:
    before = case.link(point)
    kind = "drift"
    if before is not None and before.kind in TUNNELS:
        kind = "tunnel_device"
    return Cause(
        point.host, kind, f"interface {point.device}",
        f"{point.location} has no interface {point.device}", "provision", case.apply,
    )  # fmt: skip


def _down(point: Point, link: Mapping[str, Any]) -> Cause:
    device = _kind(link)
    kind = "bridge_down" if device in ("bridge", OVS_BRIDGE) else "link_down"
    kind = "tunnel_device" if device in TUNNELS else kind
    fix = point.enter + f"ip link set dev {point.device} up"
    return Cause(
        point.host, kind, f"{point.device} is DOWN",
        f"{point.device} of {point.location} is down", "a person", fix,
    )  # fmt: skip


def _without_carrier(point: Point) -> Cause:
    return Cause(
        point.host, "no_carrier", f"{point.device} has no carrier",
        f"{point.device} of {point.location} is up, but has no carrier: its cable or its other end "
        "is missing or down", "a person",
        point.enter + f"ip link show dev {point.device}",
    )  # fmt: skip


def ports(case: Case, points: Iterable[Point]) -> Iterator[Cause]:
    """Yield ports that are not in their bridge, do not forward, or are isolated."""
    for point in dict.fromkeys(points):
        side, space = case.side(point), case.of(point.host).space(HOST)
        link = space.link(point.device) if point.space == HOST else None
        if side is None or link is None:
            continue
        bridge = _bridge_of(case, point)
        if not bridge or point.device == bridge:
            continue
        master, port = str(link.get("master", "")), _port(space.ports, point.device)
        if side.topology.root.link(bridge) is None or _is_ovs(case, point.host, bridge):
            continue
        if "UP" not in (space.link(bridge) or {}).get("flags", ("UP",)):
            # Its ports are in the state disabled then.
            yield _down(replace(point, device=bridge), {"linkinfo": {"info_kind": "bridge"}})
        elif master != bridge:
            yield _wrong_master(point, bridge, master)
        elif port is not None and port.get("state") not in (None, "forwarding"):
            yield _port_cause(
                point, f"port {point.device} of {bridge}: state {port['state']}",
                f"bridge {bridge} does not forward by its port {point.device}, which is in the "
                f"state {port['state']}",
                f"ip link set dev {bridge} type bridge stp_state 0"
                if port["state"] in ("listening", "learning")
                else f"bridge link set dev {point.device} state 3",
            )  # fmt: skip
        elif port is not None and port.get("isolated") and _others_isolated(space.ports, port):
            yield _port_cause(
                point, f"port {point.device} of {bridge} is isolated",
                f"bridge {bridge} forwards nothing between isolated ports, and {point.device} is "
                "one",
                f"bridge link set dev {point.device} isolated off",
            )  # fmt: skip


def _others_isolated(entries: Iterable[Mapping[str, Any]], port: Mapping[str, Any]) -> bool:
    return any(
        entry.get("isolated") and entry.get("master") == port.get("master")
        and entry.get("ifname") != port.get("ifname")
        for entry in entries
    )  # fmt: skip


def _is_ovs(case: Case, host: str, bridge: str) -> bool:
    link = case.topologies[host].root.link(bridge)
    return link is not None and link.kind == OVS_BRIDGE


def _bridge_of(case: Case, point: Point) -> str:
    """The bridge of which a point's interface should be a port; "" if of none."""
    side = case.side(point)
    if side is None:
        return ""
    if side.host_end is not None and point.device == side.host_end.name:
        return side.bridge
    holder, nic = side.nic
    if point.device == nic != holder:
        return holder
    tunnel = side.tunnel
    on_tunnel = tunnel is not None and tunnel.device == point.device
    steps = ("bridge", "decapsulate")
    if on_tunnel and point.step in steps and side.network and _is_single_l2(side.network):
        return side.bridge or side.network_bridge
    return ""


def _is_single_l2(network: Network) -> bool:
    return methods.of(network).single_l2(network)


def _port(entries: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((entry for entry in entries if entry.get("ifname") == name), None)


def _wrong_master(point: Point, bridge: str, master: str) -> Cause:
    actual = f"a port of {master}" if master else "a port of no bridge"
    return _port_cause(
        point, f"{point.device} is {actual}",
        f"{point.device} of {point.host} should be a port of {bridge}, and is {actual}",
        f"ip link set dev {point.device} master {bridge}",
    )  # fmt: skip


def _port_cause(point: Point, name: str, text: str, fix: str) -> Cause:
    return Cause(point.host, "bridge_port", name, text, "a person", fix)


def next_hop(case: Case, number: int) -> IPv4Address | None:
    """The neighbour to which the kernel sends the packet at a point of the path."""
    answer = lookups.result(case, number)
    if not answer.startswith("["):
        return None
    route = json.loads(answer)[0]
    _, target = lookups.addresses(case, number)
    gateway = route.get("gateway")
    return IPv4Address(gateway) if gateway else target


def neighbors(case: Case, number: int) -> Iterator[Cause]:
    """Yield a neighbour that is wrong or does not answer."""
    point, address = case.points[number], next_hop(case, number)
    if address is None:
        return
    device = _device(case, number)
    entry = case.space(point).neighbor(address, device)
    macs = _macs(case, address)
    state = ",".join(entry.get("state", ())) if entry else ""
    mac = str(entry.get("lladdr", "")) if entry else ""
    static = "PERMANENT" in state
    command = f"{point.enter}ip neigh del {address} dev {device}"
    if mac and macs and mac not in macs and not any(s in state for s in _UNRESOLVED):
        yield from _wrong_mac(case, point, address, mac, macs, command, static=static)
    elif entry is not None and any(s in state for s in (*_UNRESOLVED, "NOARP")) and not mac:
        yield from _unanswered(case, point, address, macs)


def _device(case: Case, number: int) -> str:
    """The device by which the kernel sends the packet at a point of the path."""
    route = json.loads(lookups.result(case, number))[0]
    return str(route.get("dev", case.points[number].device))


def _macs(case: Case, address: IPv4Address) -> dict[str, str]:
    """The MACs of the interfaces that have an address, on the hosts that were asked."""
    macs = {}
    for host, topology in case.topologies.items():
        names = {c.net: f"{c.name} on " for c in topology.namespace_owners()}
        for space in topology.namespaces.values():
            for link in space.links:
                if any(address == held.ip for held in link.addresses):
                    macs[link.mac] = f"{link.name} of {names.get(space.inode, '')}{host}"
    return macs


def _wrong_mac(
    case: Case, point: Point, address: IPv4Address, mac: str, macs: Mapping[str, str],
    command: str, *, static: bool,
) -> Iterator[Cause]:  # fmt: skip
    right = next(iter(macs))
    kind = "neighbor_failed" if static else "duplicate_address"
    text = (
        f"{point.location} has {mac} as the MAC of {address}, but {macs[right]}, which has this "
        f"address, has {right}"
    )
    if not static:
        text += ": another machine answers for it"
    yield Cause(
        point.host, kind, f"ip neigh {address} dev {point.device} lladdr {mac}", text,
        "a person", command, certain=static or _answers(case, address, mac),
    )  # fmt: skip


def _answers(case: Case, address: IPv4Address, mac: str) -> bool:
    return any(
        arp.sender == address and arp.mac == mac and arp.kind == "reply"
        for evidence in case.evidence.values()
        for arp in evidence.arps
    )


def _unanswered(
    case: Case, point: Point, address: IPv4Address, macs: Mapping[str, str]
) -> Iterator[Cause]:
    if not macs:
        owner = _expected_holder(case, address)
        if owner is not None:
            host, device = owner
            yield Cause(
                host, "address_missing", f"address {address} of {device}",
                f"no interface has the address {address}: {device} of {host} should", "provision",
                case.apply,
            )  # fmt: skip
            return
    yield Cause(
        point.host, "neighbor_failed", f"ip neigh {address} dev {point.device}",
        f"{point.location} asks for the MAC of {address} by ARP at {point.device}, and gets no "
        "answer", "a person", f"{point.enter}ip neigh show dev {point.device}",
        certain=False,
    )  # fmt: skip


def _expected_holder(case: Case, address: IPv4Address) -> tuple[str, str] | None:
    """The host and interface that should have an address that nobody has."""
    for side in (case.source_side, case.target_side):
        if side is None:
            continue
        host = case.inventory.hosts[side.host]
        if host.address == address:
            return side.host, side.nic[0]
        routes = side.end_space.space.routes
        if side.bridge and any(route.via == str(address) for route in routes):
            return side.host, side.bridge
    return None


def unresolved(case: Case, number: int) -> bool:
    """True if the packet at a point waits for the MAC of its next hop."""
    point, address = case.points[number], next_hop(case, number)
    entry = case.space(point).neighbor(address, _device(case, number)) if address else None
    return entry is not None and any(s in _UNRESOLVED for s in entry.get("state", ()))


def same_mac(case: Case) -> Iterator[Cause]:
    """Yield a MAC that two interfaces of the path have, on two hosts or containers."""
    holders: dict[str, Point] = {}
    for point in case.points:
        link = case.space(point).link(point.device)
        mac = str(link.get("address", "")) if link else ""
        if point.step not in ("send", "answer", "wire") or len(mac) != 17:
            continue
        first = holders.setdefault(mac, point)
        if (first.host, first.space, first.device) != (point.host, point.space, point.device):
            if first.space == point.space == HOST and first.host == point.host:
                continue
            yield Cause(
                point.host, "duplicate_mac", f"MAC {mac}",
                f"{first.device} of {first.location} and {point.device} of {point.location} both "
                f"have the MAC {mac}", "a person",
                f"ip link show dev {point.device}",
            )  # fmt: skip

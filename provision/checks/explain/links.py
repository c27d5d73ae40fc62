"""Causes in interfaces: links that are down, and wrong ports of bridges. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from provision import methods
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause, Point
from provision.facts.topology import OVS_BRIDGE
from provision.facts.tunnel_probe import TUNNELS
from provision.model.inventory import Network


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
        elif "NO-CARRIER" in link["flags"] and not _is_bridge(case, point, link):
            later.append(_without_carrier(point))
    yield from later


def _is_bridge(case: Case, point: Point, link: Mapping[str, Any]) -> bool:
    """True for a bridge, which has no carrier as long as no port of it has one."""
    return _kind(link) == "bridge" or (
        point.space == HOST and _is_ovs(case, point.host, point.device)
    )


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

"""Causes in bridges of Open vSwitch: a port that is missing, or in another VLAN. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause
from provision.checks.explain.sides import Side
from provision.facts.topology import OVS_BRIDGE


def ports(case: Case) -> Iterator[Cause]:
    """Yield interfaces of `interfaces:` that Open vSwitch connects otherwise than planned."""
    for side in (case.source_side, case.target_side):
        interface, end = (side.interface, side.host_end) if side else (None, None)
        if side is None or interface is None or end is None or not _is_ovs(side):
            continue
        if end.master != side.planned_bridge:
            yield _stray(case, side, end.name, end.master)
        elif (tag := side.topology.vlans.get(end.name, 0)) != interface.vlan:
            yield _tagged(side, end.name, tag, interface.vlan)


def _is_ovs(side: Side) -> bool:
    bridge = side.topology.root.link(side.planned_bridge)
    return bridge is not None and bridge.kind == OVS_BRIDGE


def _stray(case: Case, side: Side, port: str, bridge: str) -> Cause:
    actual = f"a port of {bridge}" if bridge else "a port of no bridge"
    return Cause(
        side.host, "bridge_port", f"{port} is {actual}",
        f"{port} of {side.host} should be a port of {side.planned_bridge}, and is {actual}",
        "a person", case.apply,
    )  # fmt: skip


def _tagged(side: Side, port: str, tag: int, planned: int) -> Cause:
    actual, wanted = (f"VLAN {vlan}" if vlan else "no VLAN" for vlan in (tag, planned))
    fix = (
        f"ovs-vsctl set port {port} tag={planned}"
        if planned
        else f"ovs-vsctl clear port {port} tag"
    )
    return Cause(
        side.host, "vlan", f"tag {tag} of port {port}" if tag else f"port {port} without a tag",
        f"{side.host} has {port} in {actual} of {side.planned_bridge}, and {wanted} is planned",
        "a person", f"ovs-vsctl {fix}",
    )  # fmt: skip

"""Causes in Open vSwitch: it does not run, a port is missing, or is in another VLAN. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause
from provision.checks.explain.sides import Side
from provision.facts.topology import OVS_BRIDGE, NamespaceLink

_SERVICE = "openvswitch-switch.service"


def daemons(case: Case) -> Iterator[Cause]:
    """Yield hosts on the way whose Open vSwitch, which the network needs, does not run."""
    for side in (case.source_side, case.target_side):
        if side is None or not _needs_ovs(case, side.host):
            continue
        state = case.of(side.host).units.get(_SERVICE, "active")
        # Without its database, nothing tells which interfaces are bridges of Open vSwitch.
        blind = not any(link.kind == OVS_BRIDGE for link in side.topology.root.links)
        stopped = f"{_SERVICE} is {state}" if blind and state != "active" else ""
        if reason := side.topology.ovs_error or stopped:
            yield Cause(
                side.host, "daemon_down", "ovs-vswitchd",
                f"Open vSwitch of {side.host} forwards nothing: {reason}", "a person",
                "systemctl restart openvswitch-switch",
            )  # fmt: skip


def _needs_ovs(case: Case, host: str) -> bool:
    network = case.network
    return network is not None and "ovs-vsctl" in methods.of(network).tools(network, host)


def ports(case: Case) -> Iterator[Cause]:
    """Yield interfaces of `interfaces:`, and NICs, that Open vSwitch connects otherwise."""
    for side in (case.source_side, case.target_side):
        if side is None:
            continue
        interface, end = side.interface, side.host_end
        if interface is not None and end is not None and _is_ovs(side, side.planned_bridge):
            if end.master != side.planned_bridge:
                yield _stray(case, side, end, side.planned_bridge)
            elif (tag := side.topology.vlans.get(end.name, 0)) != interface.vlan:
                yield _tagged(side, end.name, tag, interface.vlan)
        holder, nic = side.nic
        port = side.topology.root.link(nic)
        if holder != nic and _is_ovs(side, holder) and port is not None and port.master != holder:
            yield _stray(case, side, port, holder)


def _is_ovs(side: Side, name: str) -> bool:
    bridge = side.topology.root.link(name)
    return bridge is not None and bridge.kind == OVS_BRIDGE


def _stray(case: Case, side: Side, port: NamespaceLink, bridge: str) -> Cause:
    actual = f"a port of {port.master}" if port.master else "a port of no bridge"
    return Cause(
        side.host, "bridge_port", f"{port.name} is {actual}",
        f"{port.name} of {side.host} should be a port of {bridge}, and is {actual}",
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

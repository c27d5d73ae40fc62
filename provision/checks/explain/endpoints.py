"""Causes at the two ends: paused containers, listeners, refused pings, missing addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.explain import firewall, tunnels
from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause


def paused(case: Case) -> Iterator[Cause]:
    """Yield containers that are paused."""
    for end in (case.target, case.source):
        topology = case.topologies.get(end.host)
        info = topology.container(end.container) if topology and end.container else None
        if info is not None and info.status == "paused":
            yield Cause(
                end.host, "container_paused", f"container {info.name}",
                f"the container {end.name} on {end.host} is paused: its kernel answers pings, its "
                "programs do not", "a person", f"docker unpause {info.name}",
            )  # fmt: skip


def listener(case: Case) -> Iterator[Cause]:
    """Yield the port at which no program listens."""
    if case.probe.protocol == "icmp" or not case.sent.refused or case.target_side is None:
        return
    if not case.arrived:
        return  # a firewall on the way has refused
    side = case.target_side
    name = side.end_space.label.removeprefix("+") if side.end_space.label != HOST else side.host
    port = case.inner_port
    enter = "" if side.end_space.label == HOST else f"nsenter -t {side.end_space.pid} -n "
    if case.of(side.host).space(side.end_space.label).listeners:
        return
    yield Cause(
        side.host, "no_listener", f"{case.probe.protocol}/{port} of {name}",
        f"the packet arrives, and no program of {name} listens at its "
        f"{case.probe.protocol} port {port}",
        "a person", f"{enter}ss -lntup",
    )  # fmt: skip


def sending(case: Case) -> Iterator[Cause]:
    """Yield what the kernel of the source said when the probe was sent."""
    if case.last_seen >= 0 or not case.points:
        return
    point = case.points[0]
    for number, text in case.sent.errors:
        if number == 1:  # EPERM: netfilter's OUTPUT dropped it
            kind = "container_firewall" if point.space != HOST else "firewall_rule"
            counted = list(firewall.counted(case, point, None))
            yield from counted
            if not counted:
                yield Cause(
                    point.host, kind, "chain OUTPUT",
                    f"a rule of the chain OUTPUT of {point.space.removeprefix('+')} refuses the "
                    f"probe ({text})", "a person", "iptables -S OUTPUT", certain=False,
                )  # fmt: skip


def ignored(case: Case) -> Iterator[Cause]:
    """Yield the setting by which the target answers no ping."""
    side = case.target_side
    if side is None or case.probe.protocol != "icmp":
        return
    sysctls = case.of(side.host).space(side.end_space.label).sysctls
    if sysctls.get("net/ipv4/icmp_echo_ignore_all") == "1":
        name = "net.ipv4.icmp_echo_ignore_all"
        inside = side.end_space.label != HOST
        yield Cause(
            side.host, "container_firewall" if inside else "firewall_rule", f"{name} = 1",
            f"{side.end_space.label.removeprefix('+')} answers no ping: {name} is 1", "a person",
            f"sysctl -w {name}=0",
        )  # fmt: skip


def addresses(case: Case) -> Iterator[Cause]:
    """Yield hosts on the way that lack the address by which their peers reach them."""
    for side in tunnels.sides(case):
        host = case.inventory.hosts[side.host]
        if host.address not in side.topology.root.addresses:
            yield Cause(
                side.host, "address_missing", f"address {host.address} of {side.nic[0]}",
                f"no interface of {side.host} has its address {host.address}", "a person",
                f"ip address add {host.address} dev {side.nic[0]}",
            )  # fmt: skip

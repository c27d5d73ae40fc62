"""The kernel's answers to `ip route get`, for the packet at each point of the path. Pure."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

from provision.checks.explain.case import Case
from provision.checks.explain.evidence import named

_LOCAL = ("send", "answer", "encapsulate")


def addresses(case: Case, number: int) -> tuple[IPv4Address, IPv4Address]:
    """The source and destination of the packet that the kernel routes at a point."""
    point = case.points[number]
    if point.step == "encapsulate":
        hosts = case.inventory.hosts
        far = case.target.host if point.host == case.source.host else case.source.host
        return hosts[point.host].address, hosts[far].address
    if point.reply:
        return case.inner_address, case.address
    near = point.host == case.source.host and case.source.host != case.target.host
    return case.address, case.target_address if near else case.inner_address


def lookup(case: Case, number: int) -> str:
    """The arguments of `ip route get` for the packet at a point; "" where nothing is routed."""
    point, before = case.points[number], case.points[number - 1] if number else None
    source, target = addresses(case, number)
    if point.step in _LOCAL:
        return f"{target} from {source}" if point.step == "answer" else str(target)
    if point.step == "route" and before is not None:
        return f"{target} from {source} iif {before.device}"
    return ""


def incoming(case: Case, number: int) -> str:
    """The interface by which a packet comes to a point; `lo` for one of the namespace itself."""
    if case.points[number].step in _LOCAL or not number:
        return "lo"
    return case.points[number - 1].device


def found_route(case: Case, number: int) -> dict[str, Any]:
    """The route in the answer of the host, with names for the kernel's tables and types."""
    return named(json.loads(result(case, number))[0])


def result(case: Case, number: int) -> str:
    """The answer of the host to the point's lookup, JSON or an error; "" without one."""
    point = case.points[number]
    return case.space(point).lookups.get(str(number), "").strip()

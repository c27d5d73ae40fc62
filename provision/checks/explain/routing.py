"""Causes in routing: routes that are missing or wrong, and rules before the main table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

from provision.checks.explain import sysctls, tunnels
from provision.checks.explain.case import Case
from provision.checks.explain.lookups import addresses, found_route, incoming, result
from provision.checks.explain.model import HOST, Cause, Point
from provision.checks.explain.tables import (
    REFUSING_TYPES,
    best_route,
    owner_of,
    route_text,
    rule_text,
    table_name,
)
from provision.facts.policy import takes


def routed(case: Case, number: int) -> Iterator[Cause]:
    """Yield the reasons why the kernel does not send a packet out of the point's device."""
    point = case.points[number]
    answer = result(case, number)
    if not answer:
        return
    if point.step == "route":
        yield from sysctls.forwarding(case, number)
        yield from sysctls.source_filter(case, number, answer)
    if answer.startswith("["):
        yield from _other_device(case, number, found_route(case, number))
    elif not answer.startswith("RTNETLINK answers: Invalid cross-device link"):
        yield _unroutable(case, number, answer)


def _other_device(case: Case, number: int, route: Mapping[str, Any]) -> Iterator[Cause]:
    point = case.points[number]
    device, table = str(route.get("dev", "")), table_name(route)
    _, target = addresses(case, number)
    if route.get("type") in REFUSING_TYPES:
        yield _dead(case, number, route)
    gateway = str(route.get("gateway", ""))
    if device not in _devices(case, point) or table not in ("main", "local"):
        yield from _by_rule(case, number, route)
    expected = _gateway(case, number)
    if device not in _devices(case, point):
        via = f" via {gateway}" if gateway else ""
        yield _wrong(case, number, table, f"the packet to {target} leaves by {device}{via}")
    elif gateway and expected and gateway != str(expected):
        text = f"the packet to {target} goes to {gateway}, not to {expected}"
        yield _wrong(case, number, table, text)


def _devices(case: Case, point: Point) -> tuple[str, ...]:
    """The devices by which a packet may leave to pass a point: also the bridge above a NIC."""
    side = case.side(point)
    holder, nic = side.nic if side else ("", "")
    return (point.device, holder) if point.device == nic else (point.device,)


def _gateway(case: Case, number: int) -> IPv4Address | None:
    """The router of a packet that leaves for a peer on the hosts' own link."""
    point = case.points[number]
    later = case.points[number + 1] if number + 1 < len(case.points) else None
    if later is None or later.step != "wire" or case.target_side is None or point.space != HOST:
        return None
    far, link = case.inventory.hosts[later.host].address, case.link(point)
    near = link is not None and any(far in held.network for held in link.addresses)
    return far if near and point.step == "route" else None


def _wrong(case: Case, number: int, table: str, text: str) -> Cause:
    point = case.points[number]
    _, target = addresses(case, number)
    routes = [route for route in case.space(point).routes if table_name(route) == table]
    route = best_route(routes, target)
    kind = "wrong_route" if point.space == HOST else "container_route"
    owner = owner_of(route)
    fix = case.apply if point.space == HOST and case.network else "ip route show"
    if owner == "a person" and route is not None:
        fix = point.enter + f"ip route del {route_text(route)}"
    return Cause(
        point.host, kind, f"route {route_text(route)}" if route else f"the route to {target}",
        f"{point.location} has a wrong route: {text}, but {point.device} leads to it", owner, fix,
    )  # fmt: skip


def _by_rule(case: Case, number: int, route: Mapping[str, Any]) -> Iterator[Cause]:
    point = case.points[number]
    source, target = addresses(case, number)
    table = table_name(route)
    if table in ("local", "main", "default"):
        return
    for rule in case.space(point).rules:
        if str(rule.get("table", "")) == table and takes(
            rule, source, target, incoming(case, number)
        ):
            yield _rule_cause(point, rule, target)
            return


def _rule_cause(point: Point, rule: Mapping[str, Any], target: IPv4Address) -> Cause:
    text = rule_text(rule)
    return Cause(
        point.host, "policy_rule", f"ip rule {text}",
        f"{point.location} takes the packet to {target} from the main table by rule {text}",
        "a person", point.enter + f"ip rule del priority {rule.get('priority')}",
    )  # fmt: skip


def _dead(case: Case, number: int, route: Mapping[str, Any]) -> Cause:
    point = case.points[number]
    _, target = addresses(case, number)
    text = f"{route.get('type')} {route.get('dst')}"
    return Cause(
        point.host, "no_route" if point.space == HOST else "container_route", f"route {text}",
        f"{point.location} discards packets to {target}: its route is {text}", "a person",
        point.enter + f"ip route del {text}",
    )  # fmt: skip


def _unroutable(case: Case, number: int, answer: str) -> Cause:
    point = case.points[number]
    source, target = addresses(case, number)
    space, device = case.space(point), incoming(case, number)
    rules = [rule for rule in space.rules if takes(rule, source, target, device)]
    for rule in sorted(rules, key=lambda entry: int(entry.get("priority", 0))):
        if str(rule.get("action", "")) in REFUSING_TYPES:
            return _rule_cause(point, rule, target)
        table = str(rule.get("table", ""))
        routes = [r for r in space.routes if table_name(r) == table]
        route = best_route(routes, target)
        if route is not None and str(route.get("type", "")) in REFUSING_TYPES:
            if table not in ("main",):
                return _rule_cause(point, rule, target)
            return _dead(case, number, route)
        if route is not None:
            break
    if missing := _address_missing(case, point):
        return missing
    reason = answer.removeprefix("RTNETLINK answers: ").strip()
    kind = "no_route" if point.space == HOST else "container_route"
    expected = f"{target} dev {point.device}"
    healed = case.network is not None and point.space == HOST
    service = tunnels.table_service(case) if healed else ""
    if service and (stopped := tunnels.untold(case, point.host)):
        return stopped
    fix = case.apply if healed else point.enter + f"ip route add {expected}"
    if point.space != HOST:
        fix = f"docker restart {point.space.removeprefix('+')}"
    elif service:
        fix = f"provision verify {case.inventory.argument} -k sessions"
    reason += f"; {service} makes it" if service else ""
    return Cause(
        point.host, kind, f"route to {target}",
        f"{point.location} has no route to {target} ({reason})",
        "FRR" if service else "provision" if healed else "a person", fix,
    )  # fmt: skip


def _address_missing(case: Case, point: Point) -> Cause | None:
    """The cause if a bridge lacks the address that its containers send their packets to."""
    side, link = case.side(point), case.space(point).link(point.device)
    if side is None or link is None or point.device != side.bridge or point.space != HOST:
        return None
    gateway = next((r.via for r in side.end_space.space.routes if r.dst == "default"), "")
    held = [entry for entry in link.get("addr_info", ()) if entry.get("family") == "inet"]
    if held or not gateway:
        return None
    return Cause(
        point.host, "address_missing", f"address {gateway} of {point.device}",
        f"{point.device} of {point.host} has no IPv4 address: its containers send to {gateway}",
        "provision", case.apply,
    )  # fmt: skip

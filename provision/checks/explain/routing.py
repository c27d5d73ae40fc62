"""Causes in the IP layer: routes, rules, forwarding, filters of sources, and neighbours. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.checks.explain.case import Case
from provision.checks.explain.model import HOST, Cause, Point
from provision.resources.on_hosts import PROTO

_LOCAL = ("send", "answer", "encapsulate")
_DEAD = ("blackhole", "unreachable", "prohibit", "throw")


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


def result(case: Case, number: int) -> str:
    """The answer of the host to the point's lookup, JSON or an error; "" without one."""
    point = case.points[number]
    return case.space(point).lookups.get(str(number), "").strip()


def routed(case: Case, number: int) -> Iterator[Cause]:
    """Yield the reasons why the kernel does not send a packet out of the point's device."""
    point = case.points[number]
    answer = result(case, number)
    if not answer:
        return
    if point.step == "route":
        yield from _forwarding(case, number)
        yield from _source_filter(case, number, answer)
    if answer.startswith("["):
        yield from _other_device(case, number, json.loads(answer)[0])
    elif not answer.startswith("RTNETLINK answers: Invalid cross-device link"):
        yield _unroutable(case, number, answer)


def _forwarding(case: Case, number: int) -> Iterator[Cause]:
    point, before = case.points[number], case.points[number - 1]
    sysctls = case.space(point).sysctls
    names = ["net/ipv4/ip_forward", f"net/ipv4/conf/{before.device}/forwarding"]
    for name in names:
        if sysctls.get(name) == "0":
            key = _key(name)
            file = _file(case, point.host, key)
            where = f", set by {file}" if file else ""
            yield Cause(
                point.host, "forwarding_off", f"{key} = 0{where}",
                f"{point.host} does not forward packets that come in by {before.device}: "
                f"{key} is 0{where}",
                "a person", f"sysctl -w {key}=1",
            )  # fmt: skip


def _source_filter(case: Case, number: int, answer: str) -> Iterator[Cause]:
    point, before = case.points[number], case.points[number - 1]
    counters, sysctls = case.of(point.host).counters, case.space(point).sysctls
    dropped = counters.get(f"{point.space} TcpExt:IPReversePathFilter", 0)
    if not dropped and "Invalid cross-device link" not in answer:
        return
    modes = {
        name: sysctls.get(f"net/ipv4/conf/{name}/rp_filter", "0") for name in (before.device, "all")
    }
    name = max(modes, key=lambda device: modes[device])
    key = f"net.ipv4.conf.{name}.rp_filter"
    source, _ = addresses(case, number)
    file = _file(case, point.host, key)
    where = f", set by {file}" if file else ""
    yield Cause(
        point.host, "rp_filter", f"{key} = {modes[name]}{where}",
        f"{point.host} drops the packet at {before.device}, because its route back to {source} "
        f"leaves by another interface and {key} is {modes[name]}{where}",
        "a person", f"sysctl -w {key}=2",
    )  # fmt: skip


def _key(name: str) -> str:
    """The sysctl's name with dots, as `sysctl` writes it: dots of an interface become slashes."""
    return ".".join(part.replace(".", "/") for part in name.split("/"))


def _file(case: Case, host: str, key: str) -> str:
    slashed = key.replace(".", "/")
    for line in case.of(host).sysctl_files:
        file, _, setting = line.partition(":")
        name = setting.partition("=")[0].strip().lstrip("-")
        if name in (key, slashed):
            return file
    return ""


def _table(route: Mapping[str, Any]) -> str:
    table = str(route.get("table", "main"))
    return {"254": "main", "255": "local"}.get(table, table)


def _other_device(case: Case, number: int, route: Mapping[str, Any]) -> Iterator[Cause]:
    point = case.points[number]
    device, table = str(route.get("dev", "")), _table(route)
    _, target = addresses(case, number)
    if route.get("type") in _DEAD:
        yield _dead(case, number, route)
    gateway = str(route.get("gateway", ""))
    if device not in _devices(case, point) or table not in ("main", "local"):
        yield from _by_rule(case, number, route)
    expected = _gateway(case, number)
    if device not in _devices(case, point):
        via = f" via {gateway}" if gateway else ""
        yield _wrong(case, number, f"the packet to {target} leaves by {device}{via}")
    elif gateway and expected and gateway != str(expected):
        yield _wrong(case, number, f"the packet to {target} goes to {gateway}, not to {expected}")


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


def _wrong(case: Case, number: int, text: str) -> Cause:
    point = case.points[number]
    _, target = addresses(case, number)
    route = best(case.space(point).routes, target)
    kind = "wrong_route" if point.space == HOST else "container_route"
    owner = _owner(route)
    fix = case.apply if point.space == HOST and case.network else "ip route show"
    if owner == "a person" and route is not None:
        fix = enter(point) + f"ip route del {route_text(route)}"
    return Cause(
        point.host, kind, f"route {route_text(route)}" if route else f"the route to {target}",
        f"{where(point)} has a wrong route: {text}, but {point.device} leads to it", owner, fix,
    )  # fmt: skip


def _by_rule(case: Case, number: int, route: Mapping[str, Any]) -> Iterator[Cause]:
    point = case.points[number]
    _, target = addresses(case, number)
    table = _table(route)
    for rule in case.space(point).rules:
        name = str(rule.get("table", ""))
        if name in ("local", "main", "default") or table in ("main",) or name != table:
            continue
        yield _rule_cause(point, rule, target)


def _rule_cause(point: Point, rule: Mapping[str, Any], target: IPv4Address) -> Cause:
    text = rule_text(rule)
    return Cause(
        point.host, "policy_rule", f"ip rule {text}",
        f"{where(point)} takes the packet to {target} from the main table by rule {text}",
        "a person", enter(point) + f"ip rule del priority {rule.get('priority')}",
    )  # fmt: skip


def _dead(case: Case, number: int, route: Mapping[str, Any]) -> Cause:
    point = case.points[number]
    _, target = addresses(case, number)
    text = f"{route.get('type')} {route.get('dst')}"
    return Cause(
        point.host, "no_route" if point.space == HOST else "container_route", f"route {text}",
        f"{where(point)} discards packets to {target}: its route is {text}", "a person",
        enter(point) + f"ip route del {text}",
    )  # fmt: skip


def _unroutable(case: Case, number: int, answer: str) -> Cause:
    point = case.points[number]
    source, target = addresses(case, number)
    space = case.space(point)
    for rule in space.rules:
        if str(rule.get("action", "")) in _DEAD and _matches(rule, source, target):
            return _rule_cause(point, rule, target)
    for rule in sorted(space.rules, key=lambda entry: int(entry.get("priority", 0))):
        table = str(rule.get("table", ""))
        if not _matches(rule, source, target):
            continue
        routes = [r for r in space.routes if _table(r) == table]
        route = best(routes, target)
        if route is not None and str(route.get("type", "")) in _DEAD:
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
    fix = case.apply if healed else enter(point) + f"ip route add {expected}"
    if point.space != HOST:
        fix = f"docker restart {point.space.removeprefix('+')}"
    return Cause(
        point.host, kind, f"route to {target}",
        f"{where(point)} has no route to {target} ({reason})",
        "provision" if healed else "a person", fix,
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


def _matches(rule: Mapping[str, Any], source: IPv4Address, target: IPv4Address) -> bool:
    for key, address in (("src", source), ("dst", target)):
        text = str(rule.get(key, "all"))
        length = rule.get(f"{key}len", 32)
        if text == "all":
            continue
        if address not in IPv4Network(f"{text.partition('/')[0]}/{length}", strict=False):
            return False
    return True


def best(routes: Any, target: IPv4Address) -> Mapping[str, Any] | None:
    """The route with the longest prefix, and of these the one with the least metric."""
    matches = []
    for route in routes:
        text = str(route.get("dst", ""))
        if ":" in text or str(route.get("table", "main")) == "local":
            continue
        network = IPv4Network("0.0.0.0/0" if text == "default" else text, strict=False)
        if target in network:
            matches.append((-network.prefixlen, int(route.get("metric", 0)), route))
    matches.sort(key=lambda match: match[:2])
    return matches[0][2] if matches else None


def route_text(route: Mapping[str, Any]) -> str:
    """A route as `ip route` prints it."""
    parts = [str(route.get("dst"))]
    for key, name in (("gateway", "via"), ("dev", "dev"), ("metric", "metric")):
        if route.get(key):
            parts += [name, str(route[key])]
    return " ".join(parts)


def rule_text(rule: Mapping[str, Any]) -> str:
    """A rule as `ip rule` prints it."""
    parts = [f"{rule.get('priority')}:"]
    for key, name in (("src", "from"), ("dst", "to"), ("iif", "iif"), ("fwmark", "fwmark")):
        if rule.get(key):
            length = rule.get(f"{key}len")
            parts += [name, f"{rule[key]}/{length}" if length else str(rule[key])]
    parts += [str(rule["action"])] if rule.get("action") else ["lookup", str(rule.get("table"))]
    return " ".join(parts)


def _owner(route: Mapping[str, Any] | None) -> str:
    if route is None:
        return "a person"
    protocol = str(route.get("protocol", ""))
    return {str(PROTO): "provision", "2": "the kernel"}.get(protocol, "a person")


def where(point: Point) -> str:
    if point.space == HOST:
        return point.host
    return f"the container {point.space.removeprefix('+')} on {point.host}"


def enter(point: Point) -> str:
    if point.space == HOST:
        return ""
    name = point.space.removeprefix("+")
    return f"nsenter -t $(docker inspect -f '{{{{.State.Pid}}}}' {name}) -n "

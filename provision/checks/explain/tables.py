"""Routes and rules as `ip -j` prints them: which one fits a packet, its text, its owner. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.resources.on_hosts import PROTO

DEAD = ("blackhole", "unreachable", "prohibit", "throw")
"""Types of routes that discard packets."""


def table_name(route: Mapping[str, Any]) -> str:
    """The name of a route's table."""
    table = str(route.get("table", "main"))
    return {"254": "main", "255": "local"}.get(table, table)


def matches(rule: Mapping[str, Any], source: IPv4Address, target: IPv4Address) -> bool:
    """True if a rule of `ip rule` is for packets of this source and destination."""
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


def owner_of(route: Mapping[str, Any] | None) -> str:
    """The owner of a route, by its protocol."""
    if route is None:
        return "a person"
    protocol = str(route.get("protocol", ""))
    return {str(PROTO): "provision", "2": "the kernel"}.get(protocol, "a person")

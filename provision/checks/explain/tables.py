"""Routes and rules as `ip -j` prints them: which one fits a packet, its text, its owner. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.resources.lib.route_protocols import KERNEL, REFUSALS
from provision.resources.on_hosts import PROTO

REFUSING_TYPES = tuple(REFUSALS.values())
"""Types of routes that discard packets."""


def table_name(route: Mapping[str, Any]) -> str:
    """The name of a route's table."""
    table = str(route.get("table", "main"))
    return {"254": "main", "255": "local"}.get(table, table)


def best_route(routes: Any, target: IPv4Address) -> Mapping[str, Any] | None:
    """The route with the longest prefix, and of these the one with the least metric."""
    candidates = []
    for route in routes:
        text = str(route.get("dst", ""))
        if ":" in text or str(route.get("table", "main")) == "local":
            continue
        network = IPv4Network("0.0.0.0/0" if text == "default" else text, strict=False)
        if target in network:
            candidates.append((-network.prefixlen, int(route.get("metric", 0)), route))
    candidates.sort(key=lambda candidate: candidate[:2])
    return candidates[0][2] if candidates else None


def route_text(route: Mapping[str, Any]) -> str:
    """A route as `ip route` prints it."""
    parts = [str(route.get("dst"))]
    for key, name in (("gateway", "via"), ("dev", "dev"), ("metric", "metric")):
        if route.get(key):
            parts += [name, str(route[key])]
    parts += ["table", table_name(route)] if table_name(route) != "main" else []
    return " ".join(parts)


def rule_text(rule: Mapping[str, Any]) -> str:
    """A rule as `ip rule` prints it."""
    parts = [f"{rule.get('priority')}:", *(["not"] if "not" in rule else [])]
    for key, name, length in _SELECTORS:
        if rule.get(key):
            parts += [name, f"{rule[key]}/{rule[length]}" if rule.get(length) else str(rule[key])]
    parts += [str(rule["action"])] if rule.get("action") else ["lookup", str(rule.get("table"))]
    return " ".join(parts)


_SELECTORS = (
    ("src", "from", "srclen"),
    ("dst", "to", "dstlen"),
    ("iif", "iif", ""),
    ("fwmark", "fwmark", "fwmask"),
)
"""The key of a selector, its name in `ip rule`, and the key of its length or mask."""


# linux/rtnetlink.h: RTPROT_KERNEL, RTPROT_ZEBRA, RTPROT_DHCP, RTPROT_BGP …
_OWNERS = {
    str(PROTO): "provision",
    str(KERNEL): "the kernel",
    "16": "the DHCP client",
    "12": "BIRD",
    "11": "FRR",
    **dict.fromkeys(("186", "187", "188", "189", "192"), "a routing daemon"),
}


def owner_of(route: Mapping[str, Any] | None) -> str:
    """The owner of a route, by its protocol."""
    return _OWNERS.get(str(route.get("protocol", "")), "a person") if route else "a person"

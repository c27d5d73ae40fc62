"""Addresses, routes, rules and MACs of containers' interfaces, both families. Pure.

Each is kept in the one form in which iproute2 tells it, so that found and wanted are equal.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network

from provision.model.findings import BadValueError
from provision.model.text import quoted

MAIN_TABLE = 254
"""The main table."""


def address(text: str) -> str:
    """An address with its prefix length, IPv4 or IPv6."""
    sample = "write it like 10.78.0.245/24 or fd00::245/64"
    if "/" not in text:
        raise BadValueError(f"address {quoted(text)} has no prefix length", sample)
    try:
        found = ip_interface(text)
    except ValueError as error:
        raise BadValueError(f"address {quoted(text)} cannot be used", sample) from error
    if not re.fullmatch(r"[0-9]{1,3}", text.rpartition("/")[2]) or "%" in text:
        raise BadValueError(f"address {quoted(text)} cannot be used", sample)
    unfit = found.is_multicast or found.is_loopback or found.is_unspecified
    if unfit or _is_end(found.ip, found.network):
        raise BadValueError(f"address {quoted(text)} is none of one machine", sample)
    return str(found)


def _is_end(ip: object, network: object) -> bool:
    """The first or last address of an IPv4 network, which no machine has."""
    net = ip_network(str(network))
    ends = (net.network_address, net.broadcast_address)
    return net.version == 4 and net.prefixlen < 31 and ip in ends


def router(text: str) -> str:
    """The address of a router."""
    try:
        found = ip_address(text)
    except ValueError as error:
        raise BadValueError(
            f"{quoted(text)} is no address", "write one like 10.78.0.254"
        ) from error
    if found.is_multicast or found.is_loopback or found.is_unspecified or "%" in text:
        raise BadValueError(
            f"{quoted(text)} is no address of a router", "write one like 10.78.0.254"
        )
    return str(found)


def destination(text: str) -> str:
    """A range that a route leads to, or `default`."""
    if text == "default":
        return text
    return prefix(text)


def prefix(text: str) -> str:
    """A range; one address alone is that address."""
    try:
        found = ip_network(text)
    except ValueError as error:
        said = str(error)
        hint = "write it like 10.9.0.0/16"
        if "host bits" in said:
            hint = f"did you mean {ip_network(text, strict=False)}?"
        raise BadValueError(f"{quoted(text)} is no range", hint) from error
    return str(found)


def version(text: str) -> int:
    """4 or 6, of an address, a range or both; 0 for `default`."""
    return 0 if text == "default" else ip_interface(text).version


def route_spec(to: str, via: str, source: str, metric: int, table: int) -> str:
    """A route as words of `ip route`, without its device."""
    family = "default" if to in ("default", "0.0.0.0/0", "::/0") else to
    words = [family if "/" in family or family == "default" else f"{family}/{full_length(family)}"]
    words += ["via", via] if via else []
    words += ["src", source] if source else []
    words += ["metric", str(metric)] if metric else []
    words += ["table", str(table)] if table != MAIN_TABLE else []
    return " ".join(words)


def full_length(address: str) -> int:
    """Bits of an address that stands for itself alone."""
    return 128 if ":" in address else 32


def rule_spec(priority: int, table: int, source: str, to: str) -> str:
    """A rule as words of `ip rule`."""
    words = ["from", source] if source else []
    words += ["to", to] if to else []
    return " ".join([*words, "table", str(table), "priority", str(priority)])

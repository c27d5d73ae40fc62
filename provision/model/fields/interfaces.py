"""Addresses, routes and rules of containers' interfaces, IPv4 and IPv6. Pure.

Every value has the form in which iproute2 prints it, so that the inventory can be compared with
the output of `ip`.
"""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)

from provision.model.findings import BadValueError
from provision.model.text import quoted

MAIN_TABLE = 254  # RT_TABLE_MAIN, which `ip` does not print
_ADDRESS_HINT = "write it like 10.78.0.245/24 or fd00::245/64"
_ROUTER_HINT = "write one like 10.78.0.254"


def address(text: str) -> str:
    """An address with its prefix length. Raises BadValueError."""
    if "/" not in text:
        raise BadValueError(f"address {quoted(text)} has no prefix length", _ADDRESS_HINT)
    try:
        interface = ip_interface(text)
    except ValueError as error:
        raise _not_an_address(text) from error
    # The ipaddress module also reads netmasks (/255.255.255.0) and zones (fe80::1%eth0).
    if not re.fullmatch(r"[0-9]{1,3}", text.rpartition("/")[2]) or "%" in text:
        raise _not_an_address(text)
    if not _is_unicast(interface.ip) or _is_first_or_last(interface):
        problem = "is not a host address (network, broadcast, loopback or multicast)"
        raise BadValueError(f"address {quoted(text)} {problem}", _ADDRESS_HINT)
    return str(interface)


def _not_an_address(text: str) -> BadValueError:
    return BadValueError(f"{quoted(text)} is not an address with a prefix length", _ADDRESS_HINT)


def _is_unicast(ip: IPv4Address | IPv6Address) -> bool:
    return not (ip.is_multicast or ip.is_loopback or ip.is_unspecified)


def _is_first_or_last(interface: IPv4Interface | IPv6Interface) -> bool:
    """True for network and broadcast addresses; a /31 has none (RFC 3021), nor has IPv6."""
    network = interface.network
    ends = (network.network_address, network.broadcast_address)
    return network.version == 4 and network.prefixlen < 31 and interface.ip in ends


def router(text: str) -> str:
    """The address of a router. Raises BadValueError."""
    try:
        ip = ip_address(text)
    except ValueError as error:
        raise BadValueError(f"{quoted(text)} is not an IP address", _ROUTER_HINT) from error
    if not _is_unicast(ip) or "%" in text:
        raise BadValueError(f"{quoted(text)} is not the address of a router", _ROUTER_HINT)
    return str(ip)


def destination(text: str) -> str:
    """The range that a route leads to, or `default`. Raises BadValueError."""
    if text == "default":
        return text
    return prefix(text)


def prefix(text: str) -> str:
    """A range; a single address becomes a /32 or /128. Raises BadValueError."""
    try:
        network = ip_network(text)
    except ValueError as error:
        hint = "write it like 10.9.0.0/16"
        if "host bits" in str(error):
            hint = f"did you mean {ip_network(text, strict=False)}?"
        raise BadValueError(f"{quoted(text)} is not a range of addresses", hint) from error
    return str(network)


def ip_version(text: str) -> int:
    """4 or 6 for an address, a range or an address with prefix length; 0 for `default`."""
    return 0 if text == "default" else ip_interface(text).version


def full_length(address: str) -> int:
    """Length in bits of an address: 32 or 128."""
    return 128 if ":" in address else 32


def route_spec(to: str, via: str, source: str, metric: int, table: int) -> str:
    """A route as `ip route` prints it, without its device."""
    # `ip -json route` prints "default" for both families, and a host route without its /32 or /128.
    target = "default" if to in ("default", "0.0.0.0/0", "::/0") else to
    if "/" not in target and target != "default":
        target = f"{target}/{full_length(target)}"
    fields = [target]
    fields += ["via", via] if via else []
    fields += ["src", source] if source else []
    fields += ["metric", str(metric)] if metric else []
    fields += ["table", str(table)] if table != MAIN_TABLE else []
    return " ".join(fields)


def rule_spec(priority: int, table: int, source: str, to: str) -> str:
    """A rule as arguments of `ip rule add`."""
    fields = ["from", source] if source else []
    fields += ["to", to] if to else []
    return " ".join([*fields, "table", str(table), "priority", str(priority)])

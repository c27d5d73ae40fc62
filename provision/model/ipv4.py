"""IPv4 addresses and networks of texts. Pure.

Each host of a fleet prints the addresses of all others. A text that was parsed before gives the
same object again, which saves most of the time and memory of parsing a snapshot.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

_REMEMBERED = 1 << 14
"""Texts of which the objects are kept: several for each host of the largest fleets."""


@lru_cache(_REMEMBERED)
def ipv4_address(text: str) -> IPv4Address:
    """The address. Raises ValueError."""
    return IPv4Address(text)


@lru_cache(_REMEMBERED)
def ipv4_network(text: str) -> IPv4Network:
    """The network. Raises ValueError, also if bits of the host are set."""
    return IPv4Network(text)

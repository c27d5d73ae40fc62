"""Comparisons of address ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network


def overlapping(networks: Mapping[str, IPv4Network]) -> Iterator[tuple[str, str]]:
    """Yield the names of pairs that overlap: each network only with the widest that covers it."""
    # CIDRs nest or are apart, so in order of address only the widest open one is compared with.
    widest: str | None = None
    for name in sorted(networks, key=lambda name: _order(networks[name])):
        end = networks[widest].broadcast_address if widest is not None else None
        if widest is not None and end is not None and networks[name].network_address <= end:
            yield widest, name
        else:
            widest = name


def _order(network: IPv4Network) -> tuple[IPv4Address, int]:
    return network.network_address, network.prefixlen

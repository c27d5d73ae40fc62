"""Comparisons of address ranges, and free ones among them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from itertools import accumulate


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


def placed(
    hosts: Iterable[str],
    kept: Mapping[str, IPv4Network],
    positions: Mapping[str, IPv4Network],
    free: Callable[[Iterable[IPv4Network]], Iterator[IPv4Network]],
) -> dict[str, IPv4Network]:
    """The subnet of each host: the one that it keeps, else that of its position, if it is free.

    The others get the blocks that `free` yields, which is called with the subnets in use. A host
    is left out if there is none.
    """
    used = RangeSet(kept.values())
    at_position = {
        host: block
        for host, block in positions.items()
        if host not in kept and not used.overlap(block)
    }
    subnets = {**at_position, **kept}
    blocks = free(list(subnets.values()))
    for host in hosts:
        if host not in subnets:
            block = next(blocks, None)
            if block is not None:
                subnets[host] = block
    return {host: subnets[host] for host in hosts if host in subnets}


def free_blocks(
    cidr: IPv4Network, size: int, used: Iterable[IPv4Network], first: int = 0
) -> Iterator[IPv4Network]:
    """Yield the blocks of prefix length `size` that overlap none of `used`, in order.

    `first` blocks are skipped.
    """
    step = 1 << max(32 - size, 0)
    start = int(cidr.network_address) + first * step
    end = int(cidr.broadcast_address) + 1
    gaps = [(int(net.network_address), int(net.broadcast_address) + 1) for net in used]
    for begin, after in (*sorted(gaps), (end, end)):
        while start + step <= min(begin, end):
            yield IPv4Network((start, size))
            start += step
        start = max(start, -(-after // step) * step)


class RangeSet:
    """RangeSet of addresses, which may overlap each other."""

    def __init__(self, networks: Iterable[IPv4Network]) -> None:
        ends = sorted((int(net.network_address), int(net.broadcast_address)) for net in networks)
        self._firsts = [first for first, _ in ends]
        self._lasts = list(accumulate((last for _, last in ends), max))

    def overlap(self, network: IPv4Network) -> bool:
        """True if one of the ranges has an address of `network`."""
        before = bisect_right(self._firsts, int(network.broadcast_address))
        return before > 0 and self._lasts[before - 1] >= int(network.network_address)

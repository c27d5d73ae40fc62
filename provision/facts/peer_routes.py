"""The routes of a host to its peers, from the tables that a snapshot reads anyway. Pure.

The kernel is asked (`ip route get`) only where rules or routes with several gateways leave the
answer open: a question for each peer of each host is most of a snapshot of a large fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from provision.facts.host import PeerRoute
from provision.model.ipv4 import ipv4_address, ipv4_network

_MAIN, _LOCAL = "254", "255"
# RTN_UNICAST, RTN_LOCAL and RTN_BROADCAST of linux/rtnetlink.h, which `ip -N` prints, and names.
_UNICAST = ("1", "unicast")
_OWN = ("2", "local")
_BROADCAST = ("3", "broadcast")
_LOOPBACK = "lo"


class _Candidate(NamedTuple):
    """A route as the lookup compares it; `target` is None if packets are refused."""

    metric: int
    target: PeerRoute | None


_Table = dict[tuple[int, int], _Candidate]
"""The best route for each prefix length and network address."""


def by_kernel(answers: Iterable[list[Mapping[str, Any]]]) -> dict[IPv4Address, PeerRoute]:
    """The routes that `ip -j route get` has printed, a list of one for each peer."""
    routes = (answer[0] for answer in answers)
    return {ipv4_address(route["dst"]): _target(route) for route in routes}


def by_tables(
    peers: Iterable[IPv4Address], entries: Iterable[Mapping[str, Any]]
) -> dict[IPv4Address, PeerRoute]:
    """The routes to `peers` by `entries`, the JSON of `ip -N route show table all`.

    As the kernel looks them up without rules of others: the table of the host's own addresses
    first, then the main table, by the longest prefix and the lowest metric.
    """
    tables: dict[str, _Table] = {_LOCAL: {}, _MAIN: {}}
    for entry in entries:
        table = tables.get(str(entry.get("table", _MAIN)))
        if table is not None and _is_candidate(entry):
            _add(table, entry)
    levels = [level for table in tables.values() for level in _levels(table)]
    routes: dict[IPv4Address, PeerRoute] = {}
    for peer in peers:
        address = int(peer)
        for shift, candidates in levels:
            route = candidates.get(address >> shift)
            if route is not None:
                if route.target is not None:
                    routes[peer] = route.target
                break
    return routes


def _levels(table: _Table) -> Iterator[tuple[int, dict[int, _Candidate]]]:
    """The routes of each prefix length, the longest first, by the network's bits."""
    by_length: dict[int, dict[int, _Candidate]] = {}
    for (length, bits), route in table.items():
        by_length.setdefault(length, {})[bits] = route
    for length in sorted(by_length, reverse=True):
        yield 32 - length, by_length[length]


def _is_candidate(entry: Mapping[str, Any]) -> bool:
    """True for an IPv4 route that the lookup for an ordinary packet considers."""
    return ":" not in str(entry["dst"]) and "tos" not in entry and "dead" not in _flags(entry)


def _flags(entry: Mapping[str, Any]) -> Iterable[str]:
    flags: Iterable[str] = entry.get("flags", ())
    return flags


def _add(table: _Table, entry: Mapping[str, Any]) -> None:
    kind = str(entry.get("type", "unicast"))
    refused = kind not in (*_UNICAST, *_OWN, *_BROADCAST) or "dev" not in entry
    target = None if refused else _target(entry, own=kind in _OWN)
    metric = int(entry.get("metric", 0))
    key = _prefix(entry["dst"])
    # Of routes with the same metric, the kernel takes the first.
    if key not in table or metric < table[key].metric:
        table[key] = _Candidate(metric, target)


def _target(entry: Mapping[str, Any], *, own: bool = False) -> PeerRoute:
    dev = _LOOPBACK if own else str(entry["dev"])
    return _peer_route(dev, entry.get("gateway") or "")


@lru_cache(1 << 12)
def _peer_route(dev: str, via: str) -> PeerRoute:
    return PeerRoute(dev, ipv4_address(via) if via else None)


@lru_cache(1 << 16)
def _prefix(dst: str) -> tuple[int, int]:
    """The prefix length of a destination, and its bits."""
    network = ipv4_network("0.0.0.0/0" if dst == "default" else dst)
    return network.prefixlen, int(network.network_address) >> (32 - network.prefixlen)

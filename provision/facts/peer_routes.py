"""The routes of a host to its peers, from the tables that a snapshot reads anyway. Pure.

The kernel is asked (`ip route get`) only where rules or routes with several gateways leave the
answer open: a question for each peer of each host is most of a snapshot of a large fleet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any, NamedTuple, TypeVar

from provision.model.ipv4 import ipv4_address, ipv4_network
from provision.resources.lib.shared_json import made

_MAIN, _LOCAL = "254", "255"
# RTN_UNICAST, RTN_LOCAL and RTN_BROADCAST of linux/rtnetlink.h, which `ip -N` prints, and names.
_UNICAST = ("1", "unicast")
_OWN = ("2", "local")
_BROADCAST = ("3", "broadcast")
_LOOPBACK = "lo"

D = TypeVar("D")


class PeerRoute(NamedTuple):
    """The kernel's route to a peer: out of `dev`, `via` a gateway or directly."""

    dev: str
    via: IPv4Address | None


class PeerRoutes(Mapping[IPv4Address, PeerRoute]):
    """The routes of a host to its peers, by address.

    `groups` has the peers of each route: most hosts reach all peers by one, so that the hosts of a
    fleet share the sets. `address`, the host's own, may be in such a set, too.
    """

    __slots__ = ("_address", "groups")

    def __init__(
        self,
        groups: Mapping[PeerRoute, frozenset[IPv4Address]],
        address: IPv4Address | None = None,
    ) -> None:
        self.groups = groups
        self._address = address

    @classmethod
    def of(cls, routes: Mapping[IPv4Address, PeerRoute]) -> PeerRoutes:
        """The routes of a mapping."""
        groups: dict[PeerRoute, set[IPv4Address]] = {}
        for peer, route in routes.items():
            groups.setdefault(route, set()).add(peer)
        return cls({route: frozenset(peers) for route, peers in groups.items()})

    def __getitem__(self, peer: IPv4Address) -> PeerRoute:
        route = self.get(peer)
        if route is None:
            raise KeyError(peer)
        return route

    def __iter__(self) -> Iterator[IPv4Address]:
        return (peer for peers in self.groups.values() for peer in peers if peer != self._address)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(sorted(self.items())))

    def get(self, peer: IPv4Address, default: D | None = None) -> PeerRoute | D | None:  # type: ignore[override]
        """The route to a peer; `default` where there is none."""
        if peer != self._address:
            for route, peers in self.groups.items():
                if peer in peers:
                    return route
        return default

    def __contains__(self, peer: object) -> bool:
        return peer != self._address and any(peer in peers for peers in self.groups.values())

    def to_any(self, addresses: Set[IPv4Address]) -> Iterator[PeerRoute]:
        """Yield each route that leads to one of `addresses` at least."""
        for route, peers in self.groups.items():
            few, many = sorted((addresses, peers), key=len)
            if any(peer in many and peer != self._address for peer in few):
                yield route

    def with_devices(self, names: Mapping[str, str]) -> PeerRoutes:
        """The same routes by the devices that these names stand for."""
        groups: dict[PeerRoute, frozenset[IPv4Address]] = {}
        for route, peers in self.groups.items():
            renamed = route._replace(dev=names.get(route.dev, route.dev))
            known = groups.get(renamed)
            groups[renamed] = peers if known is None else known | peers
        return PeerRoutes(groups, self._address)


class _Candidate(NamedTuple):
    """A route as the lookup compares it: the addresses from `first` to `last`.

    `target` is None if packets are refused.
    """

    table: str
    length: int
    first: int
    last: int
    metric: int
    target: PeerRoute | None


class Addresses:
    """The addresses of a fleet, in their order, and the sets of those that a route leads to."""

    def __init__(self, addresses: Iterable[IPv4Address]) -> None:
        self._sorted = sorted(set(addresses))
        self._numbers = list(map(int, self._sorted))
        self._known: dict[tuple[_Part, ...], Mapping[PeerRoute, frozenset[IPv4Address]]] = {}

    def routes(
        self, address: IPv4Address | None, entries: Iterable[Mapping[str, Any]]
    ) -> PeerRoutes:
        """The routes of the host with the address `address` to all others.

        By `entries`, the JSON of `ip -N route show table all`, as the kernel looks them up without
        rules of others: the table of the host's own addresses first, then the main table, by the
        longest prefix and the lowest metric.
        """
        main, local = self._parts(entries)
        mine = [(start, end) for _, start, end, _ in local if not self._is(address, start, end)]
        parts = (*main, *local) if mine else main
        if parts not in self._known:
            self._known[parts] = self._groups(parts)
        return PeerRoutes(self._known[parts], address)

    def _is(self, address: IPv4Address | None, start: int, end: int) -> bool:
        return end - start == 1 and self._sorted[start] == address

    def _parts(
        self, entries: Iterable[Mapping[str, Any]]
    ) -> tuple[tuple[_Part, ...], tuple[_Part, ...]]:
        """What the main table and the local table say of the fleet, the longest prefix last."""
        if not self._numbers:
            return (), ()
        lowest, highest = self._numbers[0], self._numbers[-1]
        best: dict[tuple[str, int, int], _Candidate] = {}
        for entry in entries:
            candidate = made(entry, _candidate)
            # Most routes lead to containers.
            if candidate is None or candidate.last < lowest or candidate.first > highest:
                continue
            key = candidate[:3]
            # Of routes with the same metric, the kernel takes the first.
            if key not in best or candidate.metric < best[key].metric:
                best[key] = candidate
        ordered = sorted(best.values(), key=lambda candidate: candidate.length)
        main = (self._part(candidate) for candidate in ordered if candidate.table == _MAIN)
        local = (self._part(candidate) for candidate in ordered if candidate.table == _LOCAL)
        return tuple(filter(None, main)), tuple(filter(None, local))

    def _part(self, candidate: _Candidate) -> _Part | None:
        start = bisect_left(self._numbers, candidate.first)
        end = bisect_left(self._numbers, candidate.last + 1)
        return (candidate.length, start, end, candidate.target) if start < end else None

    def _groups(self, parts: Iterable[_Part]) -> Mapping[PeerRoute, frozenset[IPv4Address]]:
        """The addresses of each route; a part counts more than those before it."""
        targets: list[PeerRoute | None] = [None] * len(self._sorted)
        for _, start, end, target in parts:
            targets[start:end] = [target] * (end - start)
        groups: dict[PeerRoute, set[IPv4Address]] = {}
        for address, target in zip(self._sorted, targets, strict=True):
            if target is not None:
                groups.setdefault(target, set()).add(address)
        return {route: frozenset(peers) for route, peers in groups.items()}


_Part = tuple[int, int, int, PeerRoute | None]
"""A prefix length, the first and the last plus one of the addresses in it, and their route."""


def by_kernel(answers: Iterable[list[Mapping[str, Any]]]) -> PeerRoutes:
    """The routes that `ip -j route get` has printed, a list of one for each peer."""
    routes = (answer[0] for answer in answers)
    return PeerRoutes.of({ipv4_address(route["dst"]): _target(route) for route in routes})


def _candidate(entry: Mapping[str, Any]) -> _Candidate | None:
    """The entry, if the lookup of an ordinary IPv4 packet considers it."""
    table = str(entry.get("table", _MAIN))
    ignored = ":" in str(entry["dst"]) or "tos" in entry or "dead" in entry.get("flags", ())
    if ignored or table not in (_MAIN, _LOCAL):
        return None
    kind = str(entry.get("type", "unicast"))
    refused = kind not in (*_UNICAST, *_OWN, *_BROADCAST) or "dev" not in entry
    target = None if refused else _target(entry, own=kind in _OWN)
    dst = entry["dst"]
    network = ipv4_network("0.0.0.0/0" if dst == "default" else dst)
    first, last = int(network.network_address), int(network.broadcast_address)
    metric = int(entry.get("metric", 0))
    return _Candidate(table, network.prefixlen, first, last, metric, target)


def _target(entry: Mapping[str, Any], *, own: bool = False) -> PeerRoute:
    dev = _LOOPBACK if own else str(entry["dev"])
    return _peer_route(dev, entry.get("gateway") or "")


@lru_cache(1 << 12)
def _peer_route(dev: str, via: str) -> PeerRoute:
    return PeerRoute(dev, ipv4_address(via) if via else None)

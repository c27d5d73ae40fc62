"""Routes that daemons of an inventory have made on its hosts, and which are no conflict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from provision.facts.host import HostFacts, KernelRoute
from provision.resources.base import State
from provision.resources.kinds.file import File
from provision.resources.kinds.service import Service
from provision.resources.lib.daemon_range import DaemonRange, daemon_range

Ranges = Mapping[str, list[DaemonRange]]
"""By host, the ranges into which its daemons make routes."""


class LearnedRoute(NamedTuple):
    """A route that a daemon of `network` has made on `host`; `is_kept`: from before its restart."""

    host: str
    network: str
    route: KernelRoute
    is_kept: bool


def ranges(current: State) -> Ranges:
    """The ranges in which the daemons on the hosts make routes, by any of their files."""
    by_host: dict[str, list[DaemonRange]] = {}
    for resource in current.values():
        if isinstance(resource, (Service, File)):
            named = daemon_range(resource.text)
            if named and named not in by_host.setdefault(resource.host, []):
                by_host[resource.host].append(named)
    return by_host


def speakers(current: State) -> dict[str, set[str]]:
    """By network, the hosts with a file or the unit of its daemon."""
    by_network: dict[str, set[str]] = {}
    for host, of_host in ranges(current).items():
        for each in of_host:
            by_network.setdefault(each.mark.network, set()).add(host)
    return by_network


def routers(current: State) -> frozenset[str]:
    """The addresses of the routers, which are no hosts, that daemons on the hosts talk to."""
    by_host = ranges(current).values()
    return frozenset(address for named in by_host for each in named for address in each.routers)


def include(known: Ranges, host: str, route: KernelRoute) -> bool:
    """Return True for a route that a daemon has made."""
    return any(_made_by(each, route) for each in known.get(host, ()))


def learned(current: State, facts: Mapping[str, HostFacts]) -> Iterator[LearnedRoute]:
    """Yield the routes of daemons on the hosts of `current`."""
    for host, of_host in ranges(current).items():
        for route in facts[host].routes if host in facts else ():
            for each in of_host:
                if _made_by(each, route):
                    is_kept = route.proto != each.protocols[0]
                    yield LearnedRoute(host, each.mark.network, route, is_kept)


def destinations(known: Ranges, facts: Mapping[str, HostFacts]) -> frozenset[tuple[str, str]]:
    """The hosts and destinations of which all routes are made by daemons, and none by others."""
    routes = [(host, each) for host in known.keys() & facts.keys() for each in facts[host].routes]
    by_others = {(host, each.key) for host, each in routes if not include(known, host, each)}
    return frozenset((host, each.key) for host, each in routes) - by_others


def _made_by(daemon: DaemonRange, route: KernelRoute) -> bool:
    return route.proto in daemon.protocols and any(map(route.dst.subnet_of, daemon.ranges))

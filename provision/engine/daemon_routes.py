"""Routes that daemons of an inventory have made on its hosts, and which are no conflict. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network

from provision.facts.host import KernelRoute
from provision.resources.base import State
from provision.resources.kinds.service import Service

Ranges = Mapping[str, list[tuple[int, IPv4Network]]]
"""By host, the kernel's protocol number of a daemon's routes and the range that they lead into."""


def ranges(current: State) -> Ranges:
    """The ranges in which the services on the hosts make routes."""
    by_host: dict[str, list[tuple[int, IPv4Network]]] = {}
    for resource in current.values():
        if isinstance(resource, Service) and resource.routes is not None:
            by_host.setdefault(resource.host, []).append(resource.routes)
    return by_host


def include(known: Ranges, host: str, route: KernelRoute) -> bool:
    """Return True for a route that a daemon has made."""
    return any(
        route.proto == protocol and route.dst.subnet_of(cidr)
        for protocol, cidr in known.get(host, ())
    )

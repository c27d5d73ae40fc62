"""Conflicts of networks with address ranges that something outside the inventory uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network

from provision import methods
from provision.engine import conflict_commands, daemon_routes
from provision.engine.applied_ranges import AppliedRange, applied_ranges
from provision.engine.owners import Owners, ownership, removal
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts, KernelRoute
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, State
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.routes import Routes
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.lib.route_protocols import KERNEL
from provision.resources.on_hosts import PROTO, UNMARKED, Mark


def overlaps(
    inventory: Inventory, facts: Mapping[str, HostFacts], current: State, foreign: State
) -> Iterator[Conflict]:
    """Yield a conflict for each range and route of others that overlaps the range of a network.

    A route that refuses packets is one to a part of the range that another route serves: one to a
    whole range beside the routes of the network only takes what these leave over.

    `current` holds the resources of this inventory on the hosts: their routes are no conflict.
    `foreign` holds those of others, which tell the whole ranges of other inventories.
    """
    explained, of_daemons = _own_routes(current), daemon_routes.ranges(current)
    applied, owners = _by_host(foreign), Owners.of(foreign)
    for network in inventory.networks.values():
        if methods.of(network).on_hosts_lan:
            # The hosts themselves have routes into its range, of which Docker hands out a pool.
            yield from _pool_conflicts(network, foreign)
            continue
        # The subnets of the hosts: the plan names a conflict with such a route itself.
        subnets = frozenset(map(str, network.subnets.values()))
        served = _served(network)
        # Hosts outside of the network get routes to its containers by `access`.
        outside = network.access is not None and network.access.hosts
        for host in inventory.hosts if outside else network.hosts:
            ranges = [entry for entry in applied.get(host, ()) if entry.cidr.overlaps(network.cidr)]
            yield from (_range_conflict(network, entry) for entry in ranges)
            for route in facts[host].routes if host in facts else ():
                if (
                    route.key not in subnets
                    and route.dst.overlaps(network.cidr)
                    and not _only_covers(route, network)
                    and not any(route.dst.subnet_of(entry.cidr) for entry in ranges)
                    and not daemon_routes.include(of_daemons, host, route)
                    and not (host in explained and explained[host].include(route))
                    and not (route.dev == "docker0" and _uses_docker0(network, host))
                ):
                    yield _conflict(network, host, route, owners)
            for route in facts[host].routes_without_device if host in facts else ():
                if _is_narrower(route, served) and not daemon_routes.include(
                    of_daemons, host, route
                ):
                    yield _conflict(network, host, route, owners)


def _served(network: Network) -> Mapping[int, frozenset[IPv4Network]]:
    """The destinations of the routes of a network, by the length of their prefix."""
    single_l2 = methods.of(network).single_l2(network)
    ranges = (network.cidr,) if single_l2 else network.subnets.values()
    lengths = {each.prefixlen for each in ranges}
    return {
        length: frozenset(each for each in ranges if each.prefixlen == length) for length in lengths
    }


def _is_narrower(route: KernelRoute, served: Mapping[int, frozenset[IPv4Network]]) -> bool:
    """Return True if the kernel prefers the route to one of those `served`.

    Looked up: in a network with routers each host has a route with several gateways to each other.
    """
    return any(
        route.dst.supernet(new_prefix=length) in ranges
        for length, ranges in served.items()
        if length < route.dst.prefixlen
    )


def _only_covers(route: KernelRoute, network: Network) -> bool:
    """Return True for a summary route, such as 0.0.0.0/1 of a VPN.

    The routes of the network are more specific, so the kernel prefers them.
    """
    return route.proto != KERNEL and route.dst.prefixlen < network.cidr.prefixlen


def _by_host(foreign: State) -> dict[str, list[AppliedRange]]:
    """The ranges of other inventories by host, each once."""
    by_host: dict[str, list[AppliedRange]] = {}
    for entry in sorted({replace(entry, subnet=None) for entry in applied_ranges(foreign)}):
        by_host.setdefault(entry.host, []).append(entry)
    return by_host


def _range_conflict(network: Network, entry: AppliedRange) -> Conflict:
    message = f"{network.cidr} overlaps {entry.cidr}, the range of {_network_of(entry.mark)}"
    ref = Ref(entry.host, "network", network.name)
    return Conflict(ref, message, hint=removal(entry.mark))


def _pool_conflicts(network: Network, foreign: State) -> Iterator[Conflict]:
    """Yield a conflict for each other inventory that hands out addresses of the same pool."""
    pool, hosts = methods.of(network).lan_pool(network), frozenset(network.hosts)
    for ref, resource in foreign.items():
        if pool is None or ref.host not in hosts or not isinstance(resource, DockerNetwork):
            continue
        part, owner = resource.ip_range, resource.mark
        if part is not None and part.overlaps(pool) and owner != UNMARKED:
            message = (
                f"pool {pool} overlaps {part}, from which {_network_of(owner)} gives addresses"
            )
            yield Conflict(Ref(ref.host, "network", network.name), message)


def _network_of(mark: Mark) -> str:
    return f"network '{mark.network}' of inventory '{mark.inventory}'"


def _conflict(network: Network, host: str, route: KernelRoute, owners: Owners) -> Conflict:
    owner = owners.of_route(host, route.dst, route.dev)
    message = f"{network.cidr} overlaps {_description(route)}, {ownership(owner)}"
    command = conflict_commands.of_range(network)
    return Conflict(Ref(host, "network", network.name), message, command, removal(owner))


def _description(route: KernelRoute) -> str:
    if route.type:
        return f"{route.type} {route.dst}"
    return f"{route.dst} on {route.dev}" if route.dev else f"{route.dst} by several gateways"


def _uses_docker0(network: Network, host: str) -> bool:
    return methods.of(network).docker_network(network, host).kind == "docker0"


@dataclass
class _OwnRoutes:
    """The routes of one host that the resources of this inventory explain."""

    destinations: set[str] = field(default_factory=set)
    bridges: set[str | None] = field(default_factory=set)
    flannels: list[Flannel] = field(default_factory=list)

    def include(self, route: KernelRoute) -> bool:
        """Return True if a resource of this inventory has made the route."""
        return (
            (route.proto == PROTO and route.key in self.destinations)
            or route.dev in self.bridges
            or any(of_flannel(flannel, route) for flannel in self.flannels)
        )


def of_flannel(flannel: Flannel, route: KernelRoute) -> bool:
    """Return True if flanneld has made the route, or the next `apply` puts its own in the place.

    Routes of programs and those with a mark stay, and so do routes to a part of a lease. They are
    no conflict where flanneld's route, which has a lower metric, takes the packets.
    """
    if route.dev == flannel.device:
        return True
    if not route.dst.subnet_of(flannel.cidr):
        return False
    if route.dev == "docker0":
        return True  # the bridge of the network, also if the file names another one by now
    if flannel.backend == "udp":
        return route.key == str(flannel.cidr) or route.key in flannel.displaced
    length = flannel.prefix_length or route.dst.prefixlen
    stays = route.proto in (KERNEL, PROTO) or route.key in flannel.blocked
    return not stays and route.dst.prefixlen <= length


def _own_routes(current: State) -> dict[str, _OwnRoutes]:
    """The routes of this inventory by host, in one pass: a fleet has many routes on each host."""
    by_host: dict[str, _OwnRoutes] = {}
    for ref, resource in current.items():
        routes = by_host.setdefault(ref.host, _OwnRoutes())
        match resource:
            case Routes():
                routes.destinations.update(row.key for row in resource.rows)
            case DockerNetwork():
                routes.bridges.add(dict(resource.options).get(BRIDGE_NAME))
            case Flannel():
                routes.flannels.append(resource)
    return by_host

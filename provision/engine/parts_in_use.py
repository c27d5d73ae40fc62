"""Conflicts with bridges, routes and Docker networks of others on exactly the part of a host. Pure.

`overlaps` compares the whole range of a network with other ranges. A route to the subnet of a host
is left out there, because it may be ours: the bridge of the host's part, or a route to a peer.
The plan compares the routes of a network as one table, so conflicts of its rows are found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from ipaddress import IPv4Network
from operator import attrgetter

from provision import methods
from provision.engine import conflict_commands, daemon_routes
from provision.engine.overlaps import of_flannel
from provision.engine.owners import Owners, existence, mark_of, ownership, removal
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts, KernelRoute
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, Resource, State
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.routes import Routes
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.on_hosts import UNMARKED

_KEY = attrgetter("key")


def parts_in_use(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    current: State,
    foreign: State,
    wanted: State,
) -> Iterator[Conflict]:
    """Yield a conflict for each route and Docker network of others on the part of a host."""
    owners = Owners.of(foreign)
    flannels, of_daemons = _flannels(current), daemon_routes.ranges(current)
    learned = daemon_routes.destinations(of_daemons, facts)
    yield from _routes(foreign, wanted, owners, learned)
    links = _own_links(current, wanted)
    ours = _destinations((*wanted.values(), *_changed_routes(current, wanted)))
    for network in inventory.networks.values():
        if methods.of(network).on_hosts_lan:
            continue  # every host of the LAN has a route to it
        subnets = set(map(str, network.subnets.values()))
        for host in facts.keys() & set(network.hosts):
            of_host = ours.get(host, set())
            for route in facts[host].routes:
                # Of a fleet nearly all routes are ours: so that is asked first.
                if (
                    route.key not in of_host
                    and route.key in subnets
                    and (host, route.dev) not in links
                    and not any(of_flannel(flannel, route) for flannel in flannels.get(host, ()))
                    and not daemon_routes.include(of_daemons, host, route)
                    and not _on_docker0(network, route)
                ):
                    owner = owners.of_route(host, route.dst, route.dev)
                    message = f"{route.dst} is in use on {route.dev}, {ownership(owner)}"
                    ref = Ref(host, "network", network.name)
                    yield Conflict(ref, message, hint=removal(owner))
    lans = {n.cidr for n in inventory.networks.values() if methods.of(n).on_hosts_lan}
    yield from _docker_pools(foreign, wanted, lans)


def _routes(
    foreign: State, wanted: State, owners: Owners, learned: Set[tuple[str, str]]
) -> Iterator[Conflict]:
    """Yield a conflict for each route of others in the place of a route that we want.

    Those of `learned`, by host and destination, go with the daemon of ours that has made them.
    """
    tables = [table for table in foreign.values() if isinstance(table, Routes)]
    hosts = {table.host for table in tables if table.name == FOREIGN and table.rows}
    ours = _destinations(resource for resource in wanted.values() if resource.host in hosts)
    for host, keys in ours.items():
        table = foreign.get(Ref(host, Routes.kind, FOREIGN))
        for row in table.rows if isinstance(table, Routes) else ():
            if row.key in keys and (host, row.key) not in learned:
                ref = Ref(host, "route", row.key)
                owner = owners.of_route(host, row.dst, row.dev)
                message = f"route {row.key} {existence(owner)}"
                command = conflict_commands.of_resource(ref)
                yield Conflict(ref, message, command, removal(owner))


def _destinations(resources: Iterable[Resource]) -> dict[str, set[str]]:
    """The destinations of the routes of each host."""
    keys: dict[str, set[str]] = {}
    for resource in resources:
        if isinstance(resource, Routes):
            keys.setdefault(resource.host, set()).update(map(_KEY, resource.rows))
    return keys


def _changed_routes(current: State, wanted: State) -> Iterator[Routes]:
    """Yield the tables of `current` that are not as wanted: the rows of the others are in both."""
    for ref, resource in current.items():
        if isinstance(resource, Routes) and wanted.get(ref) != resource:
            yield resource


def _own_links(current: State, wanted: State) -> set[tuple[str, str]]:
    resources = (*current.values(), *wanted.values())
    return {(resource.host, name) for resource in resources for name in resource.names()}


def _flannels(current: State) -> dict[str, list[Flannel]]:
    """What flanneld has made for this inventory, by host."""
    flannels: dict[str, list[Flannel]] = {}
    for resource in current.values():
        if isinstance(resource, Flannel):
            flannels.setdefault(resource.host, []).append(resource)
    return flannels


def _on_docker0(network: Network, route: KernelRoute) -> bool:
    docker_network = methods.of(network).docker_network(network, network.hosts[0])
    return route.dev == "docker0" and docker_network.kind == "docker0"


def _docker_pools(foreign: State, wanted: State, lans: Set[IPv4Network]) -> Iterator[Conflict]:
    """Docker refuses a network whose subnet overlaps that of another, whatever its driver.

    A dockerd whose default bridge has such a subnet does not even start (moby#46098). A network of
    driver `bridge` has a route, which is reported already, unless the range is one of `lans`.
    """
    pools: dict[str, list[DockerNetwork]] = {}
    for pool in foreign.values():
        if isinstance(pool, DockerNetwork):
            pools.setdefault(pool.host, []).append(pool)
    for ref, network in wanted.items():
        subnet = _pool(network)
        if subnet is None:
            continue
        for pool in pools.get(ref.host, ()):
            is_replaced = pool.name == "bridge" and network.kind == Docker0.kind
            if pool.name == ref.name or pool.subnet is None or is_replaced:
                continue
            counts = pool.driver or (subnet in lans and pool.mark == UNMARKED)
            if counts and pool.subnet.overlaps(subnet):
                used = f"{pool.subnet} of Docker network {pool.name} ({pool.driver or 'bridge'})"
                message = f"{subnet} overlaps {used}, {ownership(mark_of(pool))}"
                yield Conflict(ref, message, hint=removal(mark_of(pool)))


def _pool(network: Resource) -> IPv4Network | None:
    """The subnet that Docker manages for a network, or for its own default bridge."""
    if isinstance(network, Docker0):
        subnet = dict(network.effective).get("subnet")
        return IPv4Network(subnet) if subnet else None
    return network.subnet if isinstance(network, DockerNetwork) else None

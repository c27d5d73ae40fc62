"""Conflicts with bridges, routes and Docker networks of others on exactly the part of a host. Pure.

`overlaps` compares the whole range of a network with other ranges. A route to the subnet of a host
is left out there, because it may be ours: the bridge of the host's part, or a route to a peer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from provision import methods
from provision.engine.plan import Conflict
from provision.facts.host import HostFacts, KernelRoute
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, State
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel


def parts_in_use(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    current: State,
    foreign: State,
    wanted: State,
) -> Iterator[Conflict]:
    """Yield a conflict for each route and Docker network of others on the part of a host."""
    links = _own_links(current, wanted)
    flannels = _flannel_ranges(current)
    for network in inventory.networks.values():
        if methods.of(network).on_hosts_lan:
            continue  # every host of the LAN has a route to it
        subnets = set(network.subnets.values())
        for host in facts.keys() & set(network.hosts):
            for route in facts[host].routes:
                if (
                    route.dst in subnets
                    # `plan` itself compares the routes that we want or have.
                    and not _is_planned(Ref(host, "route", str(route.dst)), current, wanted)
                    and (host, route.dev) not in links
                    and not any(route.dst.subnet_of(cidr) for cidr in flannels.get(host, ()))
                    and not _on_docker0(network, route)
                ):
                    message = f"{route.dst} is in use on {route.dev}, outside this inventory"
                    yield Conflict(Ref(host, "network", network.name), message)
    yield from _docker_pools(foreign, wanted)


def _own_links(current: State, wanted: State) -> set[tuple[str, str]]:
    resources = (*current.values(), *wanted.values())
    return {(resource.host, name) for resource in resources for name in resource.names()}


def _is_planned(ref: Ref, current: State, wanted: State) -> bool:
    return ref in wanted or ref in current


def _flannel_ranges(current: State) -> dict[str, list[IPv4Network]]:
    """The ranges of our flannel networks by host: flanneld makes routes in them."""
    ranges: dict[str, list[IPv4Network]] = {}
    for resource in current.values():
        if isinstance(resource, Flannel):
            ranges.setdefault(resource.host, []).append(resource.cidr)
    return ranges


def _on_docker0(network: Network, route: KernelRoute) -> bool:
    docker_network = methods.of(network).docker_network(network, network.hosts[0])
    return route.dev == "docker0" and docker_network.kind == "docker0"


def _docker_pools(foreign: State, wanted: State) -> Iterator[Conflict]:
    """Docker refuses a network whose subnet overlaps that of another, whatever its driver.

    A network of driver `bridge` has a route, which is reported already.
    """
    pools: dict[str, list[DockerNetwork]] = {}
    for pool in foreign.values():
        if isinstance(pool, DockerNetwork):
            pools.setdefault(pool.host, []).append(pool)
    for ref, network in wanted.items():
        if not isinstance(network, DockerNetwork) or network.subnet is None:
            continue
        for pool in pools.get(ref.host, ()):
            if pool.name == ref.name or pool.subnet is None:
                continue
            if pool.driver and pool.subnet.overlaps(network.subnet):
                used = f"{pool.subnet} of Docker network {pool.name} ({pool.driver})"
                yield Conflict(ref, f"{network.subnet} overlaps {used}, outside this inventory")

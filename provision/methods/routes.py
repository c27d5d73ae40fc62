"""Method `routes`: each host carries a subnet of the network; static routes lead to the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.methods import Facts, Method
from provision.methods._shared import docker_bridge
from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource
from provision.resources.kinds import routes
from provision.resources.kinds.routes import Routes, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesOptions(BridgeOptions):
    """The keys of a `routes` network, besides those of every network."""


_ONE_LINK = "a router between the hosts has no routes to their subnets: use method vxlan"


class RoutesMethod(Method):
    """Static routes between the hosts' subnets; packets travel as they are."""

    name = "routes"
    Options = RoutesOptions

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a bridge, a route to each peer's subnet and firewall rules for each host."""
        mtu = self.mtu(inventory, network, facts)
        rows = _Rows(inventory, network)
        for host in network.hosts:
            if host in facts:
                yield from _host(inventory, network, facts[host], mtu, rows)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from docker_bridge.problems(inventory, network, facts)
        yield from docker_bridge.peer_problems(inventory, network, facts, one_link=_ONE_LINK)


class _Rows:
    """The rows of the peers of a network: hosts that reach them by the same NICs share the rows."""

    def __init__(self, inventory: Inventory, network: Network) -> None:
        self._inventory, self._network = inventory, network
        self._known: dict[tuple[tuple[str, frozenset[IPv4Address]], ...], dict[str, Row]] = {}

    def of(self, facts: HostFacts) -> list[Row]:
        """A row for each peer of a host."""
        groups = tuple((route.dev, peers) for route, peers in facts.peer_routes.groups.items())
        if groups not in self._known:
            self._known[groups] = dict(self._all(groups))
        return [row for peer, row in self._known[groups].items() if peer != facts.host]

    def _all(
        self, groups: Iterable[tuple[str, frozenset[IPv4Address]]]
    ) -> Iterator[tuple[str, Row]]:
        """Yield a row for each host of the network that such a host may have as a peer."""
        devices = {address: dev for dev, peers in groups for address in peers}
        for peer, subnet in self._network.subnets.items():
            address = self._inventory.hosts[peer].address
            yield peer, routes.row(str(subnet), str(address), devices.get(address, ""))


def _host(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, rows: _Rows
) -> Iterator[Resource]:
    host, nics = facts.host, docker_bridge.nics(inventory, network, facts)
    yield from docker_bridge.forwarding(inventory, network, facts, nics)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=nics)
    if len(network.subnets) > 1:
        peers, ssh = rows.of(facts), facts.ssh_from
        table = Routes.of(host, network.name, inventory.name, peers, ssh_from=ssh)
        needs, follows = _bridges(facts, nics)
        yield replace(table, needs=(*table.needs, *needs), follows=follows)
    yield from docker_bridge.chains(inventory, network, host, nics)


def _bridges(facts: HostFacts, nics: tuple[str, ...]) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    """The bridges of this inventory that hold the addresses of NICs: those that the routes need,
    and those that are only made before them.

    Existing routes follow the addresses to a new bridge. They are lost with a bridge that is
    replaced, so they are made again then.
    """
    bridges = [(nic, facts.port_nics[nic].bridge) for nic in nics if nic in facts.port_nics]
    existing = tuple(bridge for nic, bridge in bridges if nic in facts.links)
    return existing, tuple(bridge for nic, bridge in bridges if nic not in facts.links)

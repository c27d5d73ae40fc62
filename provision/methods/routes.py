"""Method `routes`: each host carries a subnet of the network; static routes lead to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    """The rows of the peers of a network: hosts that reach a peer by the same NIC share one."""

    def __init__(self, inventory: Inventory, network: Network) -> None:
        self._peers = {
            peer: (inventory.hosts[peer].address, str(subnet))
            for peer, subnet in network.subnets.items()
        }
        self._known: dict[tuple[str, str], Row] = {}

    def of(self, facts: HostFacts) -> Iterator[Row]:
        """Yield a row for each peer of a host."""
        for peer, (address, subnet) in self._peers.items():
            if peer != facts.host:
                route = facts.peer_routes.get(address)
                key = (peer, route.dev if route else "")
                if key not in self._known:
                    self._known[key] = routes.row(subnet, str(address), key[1])
                yield self._known[key]


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

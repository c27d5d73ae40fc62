"""Method `routes`: each host carries a subnet of the network; static routes lead to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.methods import Facts, Method
from provision.methods._shared import docker_bridge
from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.base import Resource
from provision.resources.kinds.route import Route


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
        for host in network.hosts:
            if host in facts:
                yield from _host(inventory, network, facts[host], mtu)

    def check_host(
        self, inventory: Inventory, network: Network, facts: HostFacts
    ) -> Iterator[Problem]:
        """Yield the reasons why one host cannot carry its part of the network."""
        yield from docker_bridge.problems(inventory, network, facts)
        yield from docker_bridge.peer_problems(inventory, network, facts, one_link=_ONE_LINK)


def _host(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Iterator[Resource]:
    host, nics = facts.host, docker_bridge.nics(inventory, network, facts)
    yield from docker_bridge.forwarding(inventory, network, facts, nics)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=nics)
    for peer, subnet in network.subnets.items():
        if peer != host:
            address = inventory.hosts[peer].address
            route = facts.peer_routes.get(address)
            ssh = facts.ssh_from is not None and facts.ssh_from in subnet
            yield Route(host, subnet, address, route.dev if route else "", inventory.name, ssh)
    yield from docker_bridge.chains(inventory, network, host, nics)

"""NICs of default routes that forward nothing: no answer from outside reaches a container. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.needs import Transit
from provision.model.problems import Problem
from provision.resources.kinds.sysctl import forwarding_key


def warnings(inventory: Inventory, facts: HostFacts) -> Iterator[Problem]:
    """Yield them for each network of a host whose containers leave by them.

    Those that any network lets forward are settings of ours; `facts` have them as they were.
    """
    off = {route.dev for route in facts.default_routes} & facts.not_forwarding
    networks = [n for n in inventory.networks.values() if facts.host in n.hosts] if off else []
    for network in networks:
        off.difference_update(_settings(inventory, network, facts))
    for network in networks:
        leaves = network.egress != "none" and not methods.of(network).on_hosts_lan
        for dev in sorted(off) if leaves else ():
            yield Problem(
                facts.host,
                f"{dev} does not forward, so containers of network {network.name} get no answers "
                "from outside of it",
                f"run `sysctl -w {forwarding_key(dev)}=1` on {facts.host}, or write egress: none",
            )


def _settings(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[str]:
    """The interfaces that a network lets forward: for packets of its peers, and by access."""
    for need in methods.firewall_needs(inventory, network, facts):
        if isinstance(need, Transit):
            yield need.nic
    if network.access is not None:
        yield from network.access.interfaces
        if network.access.hosts or network.access.ranges:
            routes = facts.peer_routes.to_any(inventory.addresses[network.name])
            yield from (route.dev for route in routes)

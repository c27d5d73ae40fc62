"""Host facts as they will look once networks of the inventory have their NICs on bridges. Pure.

They let one plan make a bridge that takes over the addresses of a NIC, and routes over the bridge:
the kernel refuses a route by a NIC that has no address in the router's subnet any more.
"""

from __future__ import annotations

from dataclasses import replace

from provision import methods
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory


def with_port_nics(inventory: Inventory, snapshot: HostSnapshot) -> HostSnapshot:
    """The snapshot with each peer's route on the interface that will hold the NIC's addresses.

    All other facts stay: the bridges are made of them.
    """
    facts = snapshot.facts
    ports = {
        holder: port
        for network in inventory.networks.values()
        if facts.host in network.hosts
        for holder, port in methods.of(network).port_nics(inventory, network, facts).items()
    }
    if not ports:
        return snapshot
    holders = {port.nic: holder for holder, port in ports.items()}
    return replace(snapshot, facts=_moved(replace(facts, port_nics=ports), holders))


def _moved(facts: HostFacts, holders: dict[str, str]) -> HostFacts:
    return replace(facts, peer_routes=facts.peer_routes.with_devices(holders))

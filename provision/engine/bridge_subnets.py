"""The subnets that hosts keep, by the bridges of their topologies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from provision.engine.claimed_subnets import NetworkSubnets
from provision.engine.host_subnets import with_subnets
from provision.facts.topology import HostTopology
from provision.model import names
from provision.model.inventory import Inventory, Network


def with_bridge_subnets(inventory: Inventory, topologies: Mapping[str, HostTopology]) -> Inventory:
    """The inventory with the subnets of the hosts' bridges, where it would give others by place."""
    subnets = {
        name: NetworkSubnets(dict(_subnets(network, topologies.values())))
        for name, network in inventory.networks.items()
    }
    return with_subnets(inventory, subnets)


def _subnets(
    network: Network, topologies: Iterable[HostTopology]
) -> Iterator[tuple[str, IPv4Network]]:
    for topology in topologies:
        by_file = network.subnets.get(topology.host)
        if by_file is None:
            continue
        for link in topology.root.links:
            for interface in link.addresses if link.kind == "bridge" else ():
                block = IPv4Network((int(interface.ip), by_file.prefixlen), strict=False)
                if interface.ip in network.cidr and interface.ip == names.gateway(block):
                    yield topology.host, block

"""Containers of others on the networks of the inventory: its guests, and undeclared ones. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from provision.facts import docker_entry
from provision.facts.topology import ContainerInfo, HostTopology
from provision.model.inventory import Inventory

UNDECLARED = "not declared"


class OtherMember(NamedTuple):
    """A container that provision did not make, on `network`.

    `guest` is its name in the inventory, empty if it stands in no file. `address` is empty for a
    guest that is not on its network.
    """

    container: str
    guest: str
    network: str
    address: str


def other_members(inventory: Inventory, topology: HostTopology) -> Iterator[OtherMember]:
    """Yield the guests of a host, and the undeclared containers on its networks."""
    declared: set[tuple[str, str]] = set()
    for guest in inventory.guests.values():
        if guest.host == topology.host:
            info = docker_entry.single(guest, topology.containers.values())
            address = _address(inventory, topology, info, guest.network) if info else ""
            declared.add((info.name if info else "", guest.network))
            yield OtherMember(info.name if info else "", guest.name, guest.network, address)
    for info in topology.namespace_owners():
        for network in inventory.networks if info.mark.inventory != inventory.name else ():
            address = _address(inventory, topology, info, network)
            if address and (info.name, network) not in declared:
                yield OtherMember(info.name, "", network, address)


def _address(
    inventory: Inventory, topology: HostTopology, info: ContainerInfo, network: str
) -> str:
    """The address of a container in a network of the inventory; empty without one."""
    namespace = topology.namespaces.get(info.net)
    subnet = inventory.networks[network].subnets.get(topology.host)
    if namespace is None or subnet is None or namespace is topology.root:
        return ""
    addresses = sorted(namespace.addresses)
    return next((str(address) for address in addresses if address in subnet), "")


class JoinedNetwork(NamedTuple):
    """A network that a container of ours is on; `address` is empty if it is not on it."""

    container: str
    network: str
    address: str
    has_default_route: bool


def joined_networks(inventory: Inventory, topology: HostTopology) -> Iterator[JoinedNetwork]:
    """Yield each network of the containers that are on several."""
    for container in inventory.containers.values():
        info = topology.containers.get(container.name)
        if not container.networks or container.host != topology.host or info is None:
            continue
        for name in (container.network, *(further.name for further in container.networks)):
            known = name in inventory.networks
            address = (_address if known else _address_on_docker0)(inventory, topology, info, name)
            yield JoinedNetwork(info.name, name, address, name == container.network)


def _address_on_docker0(
    inventory: Inventory, topology: HostTopology, info: ContainerInfo, network: str
) -> str:
    """The address of a container on Docker's default bridge, which is not of the inventory."""
    del inventory
    namespace = topology.namespaces.get(info.net)
    bridge = topology.root.link(topology.bridges.get(network, ""))
    for address in sorted(namespace.addresses) if namespace and bridge else ():
        if bridge and any(address in held.network for held in bridge.addresses):
            return str(address)
    return ""

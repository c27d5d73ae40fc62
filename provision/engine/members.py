"""The members of the networks as the hosts have them: containers, guests and others. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.engine.fleet import Fleet
from provision.engine.strangers import stranger
from provision.facts import docker_entry
from provision.model.inventory import Container, Inventory
from provision.resources.base import Ref, State
from provision.resources.kinds.connection import NetworkConnection
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.guest import GuestConnection


@dataclass(frozen=True, slots=True)
class Member:
    """A container of the inventory, or a guest, that runs; `docker` is its name in Docker.

    `pid` is its process on the host. `address` is None where Docker gives it none.
    """

    container: Container
    docker: str
    pid: int
    address: IPv4Address | None


def members(inventory: Inventory, fleet: Fleet, network: str = "") -> Iterator[Member]:
    """Yield the members that run, with their addresses: of one network, or of all."""
    for container in inventory.members.values():
        if not network or container.network == network:
            member = member_of(inventory, fleet, container)
            if member is not None:
                yield member


def member_of(inventory: Inventory, fleet: Fleet, container: Container) -> Member | None:
    """A container or guest as its host has it; None if it does not run."""
    snapshot = fleet.snapshots.get(container.host)
    if snapshot is None:
        return None
    guest = container.guest
    if container.base:
        return _further_member(container, snapshot.ours)
    if guest is None:
        resource = snapshot.ours.get(Ref(container.host, "container", container.name))
        if not isinstance(resource, DockerContainer) or not resource.pid:
            return None
        return Member(container, container.name, resource.pid, resource.live_address)
    if not guest.declared:
        undeclared = stranger(fleet, inventory, guest)
        if undeclared is None:
            return None
        return Member(container, undeclared.name, undeclared.pid, undeclared.address)
    connection = snapshot.ours.get(Ref(container.host, "guest", guest.name))
    if not isinstance(connection, GuestConnection) or not connection.pid:
        return None
    entry = docker_entry.single(guest, snapshot.facts.docker_containers)
    name = entry.name if entry else guest.text
    return Member(container, name, connection.pid, connection.live_address)


def _further_member(container: Container, resources: State) -> Member | None:
    """A container on a further network; None if it does not run. Not connected: no address."""
    connection = resources.get(
        Ref(container.host, "connection", f"{container.base}/{container.network}")
    )
    if not isinstance(connection, NetworkConnection) or not connection.pid:
        return None
    return Member(container, container.base, connection.pid, connection.live_address)

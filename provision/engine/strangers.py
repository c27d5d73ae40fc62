"""Containers on networks of the inventory that stand in no file, for `verify --all`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from provision import methods
from provision.engine.fleet import Fleet, Session
from provision.facts import docker_entry
from provision.facts.probe import FactsProbe
from provision.model.inventory import Guest, Inventory
from provision.resources.base import ABSENT
from provision.resources.lib.docker_api import docker_name
from provision.resources.on_hosts import Mark
from provision.resources.render import program_text
from provision.resources.script import quoted


@dataclass(frozen=True, slots=True)
class NetworkMember:
    """A running container in the Docker network `network`."""

    network: str
    name: str
    pid: int
    address: IPv4Address
    owner: Mark


@dataclass(frozen=True, slots=True)
class NetworkMembers:
    """All running containers of a host in the inventory's Docker networks."""

    entries: tuple[NetworkMember, ...] = ()


def asking(session: Session) -> Session:
    """The same session, whose snapshots also ask for the members of the Docker networks."""
    inventory = session.inventory
    names = {
        docker_name(methods.of(network).docker_network(network, host))
        for network in inventory.networks.values()
        for host in network.hosts
    }
    arguments = quoted((" ".join(sorted(names)),))
    script = f"docker_networks={arguments}\n" + program_text("look/strangers.sh")
    return replace(session, probes=(*session.probes, FactsProbe("strangers", script, _parse)))


def _parse(text: str) -> NetworkMembers:
    if text == ABSENT:
        return NetworkMembers()
    return NetworkMembers(tuple(_members(text)))


def _members(text: str) -> Iterator[NetworkMember]:
    for line in text.splitlines():
        _, network, name, pid, address, owner = line.split(" ")
        if address != "-" and int(pid):
            mark = Mark.parse("" if owner == "-" else owner)
            yield NetworkMember(
                network, name.removeprefix("/"), int(pid), IPv4Address(address), mark
            )


def with_strangers(inventory: Inventory, fleet: Fleet) -> Inventory:
    """The inventory with a guest for each container that is on its networks undeclared."""
    guests: dict[str, Guest] = dict(inventory.guests)
    taken = {*inventory.members, *inventory.hosts}
    for host, facts in fleet.facts.items():
        declared = {
            (entry.name, guest.network)
            for guest in inventory.guests.values()
            if guest.host == host
            for entry in docker_entry.matches(guest, facts.docker_containers)
        }
        networks = _networks(inventory, host)
        for member in facts.of(NetworkMembers).entries:
            network = networks.get(member.network)
            ours = member.owner.inventory == inventory.name
            if network is None or ours or (member.name, network) in declared:
                continue
            name = member.name if member.name not in taken else f"{member.name}@{host}"
            taken.add(name)
            guests[name] = Guest(name, host, network, "container", member.name, declared=False)
    return replace(inventory, guests=guests)


def _networks(inventory: Inventory, host: str) -> Mapping[str, str]:
    """The network of the inventory, by the name of its Docker network on a host."""
    return {
        docker_name(methods.of(network).docker_network(network, host)): network.name
        for network in inventory.networks.values()
        if host in network.hosts
    }


def stranger(fleet: Fleet, inventory: Inventory, guest: Guest) -> NetworkMember | None:
    """The running container of an undeclared guest."""
    networks = _networks(inventory, guest.host)
    for member in fleet.facts[guest.host].of(NetworkMembers).entries:
        if member.name == guest.text and networks.get(member.network) == guest.network:
            return member
    return None

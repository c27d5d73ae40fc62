"""The members of a network that have names, with their addresses. Pure.

With names, the plan fixes the address of every container, so that all hosts know it before
anything starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network

from provision.facts import docker_entry
from provision.facts.host import HostFacts
from provision.methods._names.facts import NameFacts
from provision.model.inventory import Container, Inventory, Network, further_name
from provision.model.names import STASHED, gateway
from provision.resources.on_hosts import Mark


@dataclass(frozen=True, slots=True)
class NamedMember:
    """A container of a network: its address, and its names, of which the first is for PTR.

    `container` is the name of the member, which has that of a further network: `web.red`.
    `shared` are the names of its service, which other containers may have, too. `proposed` is set
    for a guest whose address only its own host knows: the one for `docker network connect`.
    """

    container: str
    host: str
    address: IPv4Address
    names: tuple[str, ...]
    shared: tuple[str, ...] = ()
    proposed: IPv4Address | None = None


def members(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> tuple[NamedMember, ...]:
    """Everything that the DNS servers of a network answer for, sorted by name.

    Empty for a network without names.
    """
    if network.names is None:
        return ()
    containers = sorted(
        (c for c in inventory.members.values() if c.network == network.name and c.is_declared),
        key=lambda container: container.name,
    )
    addresses = _addresses(inventory, network, containers, facts)
    proposed = _proposed(inventory, network, containers, addresses)
    return tuple(
        NamedMember(
            each.name,
            each.host,
            addresses.get(each.name) or proposed[each.name],
            names_of(network, each),
            _shared_names(network, each),
            proposed.get(each.name),
        )
        for each in containers
    )


def names_of(network: Network, container: Container) -> tuple[str, ...]:
    """All names of a container, the longest form of its own name first."""
    return all_names(network.name, network.names or "", (container.own_name, *container.aliases))


def _shared_names(network: Network, container: Container) -> tuple[str, ...]:
    """The names of a container's service, unless they are its own."""
    if not container.service:
        return ()
    own = names_of(network, container)
    shared = all_names(network.name, network.names or "", (container.service,))
    return tuple(name for name in shared if name not in own)


def all_names(network: str, domain: str, names: Iterable[str]) -> tuple[str, ...]:
    """Each name with the network and the domain, with the network, and alone.

    An alias with dots is complete.
    """
    first, *aliases = (name.lower() for name in names)
    plain = [first, *(alias for alias in aliases if "." not in alias)]
    ends = [*([f".{network}.{domain}"] if domain else []), f".{network}", ""]
    forms = [f"{name}{end}" for name in plain for end in ends]
    return tuple(dict.fromkeys((*forms, *(alias for alias in aliases if "." in alias))))


def _addresses(
    inventory: Inventory,
    network: Network,
    containers: list[Container],
    facts: Mapping[str, HostFacts],
) -> dict[str, IPv4Address]:
    """The address of each container: the written one, else one that it is known to have, else a
    free one by its name. A guest without any is left out."""
    present = [host for host in network.hosts if host in facts]
    known = {host: facts[host].of(NameFacts) for host in present}
    held = {host: held_addresses(inventory, network, facts[host]) for host in present}
    guests = {each.name: _address_of_guest(network, each, facts) for each in containers}
    in_use: dict[str, set[IPv4Address]] = {
        host: set(held[host].unmarked) if host in held else set() for host in network.hosts
    }
    chosen: dict[str, IPv4Address] = {}

    def choose(container: Container, address: IPv4Address) -> None:
        chosen[container.name] = address
        in_use[container.host].add(address)

    for each in containers:
        address = each.address or guests[each.name]
        if address is not None:
            choose(each, address)
    for each in containers:
        usable = _usable(network.subnets[each.host])
        is_decided = each.name in chosen or is_live(each)
        candidates = () if is_decided else _known(network, each, held, known)
        for address in candidates:
            if address in usable and address not in in_use[each.host]:
                choose(each, address)
                break
    for each in containers:
        if each.name not in chosen and not is_live(each):
            subnet = network.subnets[each.host]
            choose(each, free_address(subnet, _seed(inventory, each), in_use[each.host]))
    return chosen


def is_live(container: Container) -> bool:
    """True for a guest without a written address: Docker may give it one when it is made anew."""
    return container.guest is not None and container.guest.address is None


def _seed(inventory: Inventory, container: Container) -> str:
    return f"{inventory.name}/{container.network}/{container.name}"


def _proposed(
    inventory: Inventory,
    network: Network,
    containers: list[Container],
    addresses: Mapping[str, IPv4Address],
) -> dict[str, IPv4Address]:
    """An address for each guest without a written one, which no container has.

    It does not depend on what Docker gave the guest, so that it stays the same.
    """
    in_use: dict[str, set[IPv4Address]] = {}
    for each in containers:
        if not is_live(each):
            in_use.setdefault(each.host, set()).add(addresses[each.name])
    proposed: dict[str, IPv4Address] = {}
    for each in filter(is_live, containers):
        used = in_use.setdefault(each.host, set())
        address = free_address(network.subnets[each.host], _seed(inventory, each), used)
        proposed[each.name] = address
        used.add(address)
    return proposed


@dataclass(frozen=True, slots=True)
class HeldAddresses:
    """Addresses of a host's containers in a network: with our mark by name, and those of others."""

    marked: Mapping[str, IPv4Address]
    unmarked: frozenset[IPv4Address]


def held_addresses(inventory: Inventory, network: Network, facts: HostFacts) -> HeldAddresses:
    """The addresses that a host's containers have, or get when they start."""
    marked: dict[str, IPv4Address] = {}
    unmarked: set[IPv4Address] = set()
    for entry in facts.docker_containers:
        address = entry.addresses.get(network.name) or entry.fixed.get(network.name)
        if address is None or STASHED.search(entry.name):
            continue
        of_network = Mark(inventory.name, network.name)
        further = further_name(entry.name, network.name) in inventory.members
        if entry.mark == of_network or (entry.mark.inventory == inventory.name and further):
            marked[entry.name] = address
        else:
            unmarked.add(address)
    return HeldAddresses(marked, frozenset(unmarked))


def _address_of_guest(
    network: Network, container: Container, facts: Mapping[str, HostFacts]
) -> IPv4Address | None:
    """The address that a guest has already; None for a container of ours."""
    host = facts.get(container.host)
    if host is None or container.guest is None:
        return None
    entry = docker_entry.single(container.guest, host.docker_containers)
    return entry.addresses.get(network.name) if entry else None


def _known(
    network: Network,
    container: Container,
    held: Mapping[str, HeldAddresses],
    facts: Mapping[str, NameFacts],
) -> Iterator[IPv4Address]:
    """Yield the addresses that its own host has for a container, then those of records.

    A host that did not answer, or that `--limit` leaves out, is known by the records of others.
    """
    marked = held[container.host].marked if container.host in held else {}
    if container.own_name in marked:
        yield marked[container.own_name]
    first, *_ = names_of(network, container)
    for of_host in facts.values():
        records = of_host.records.get(network.name, {})
        if first in records:
            yield records[first]


@dataclass(frozen=True, slots=True)
class _Range:
    """The addresses for containers of a subnet: without its own, the gateway and broadcast."""

    first: int
    size: int

    def __contains__(self, address: object) -> bool:
        assert isinstance(address, IPv4Address)
        return 0 <= int(address) - self.first < self.size


def _usable(subnet: IPv4Network) -> _Range:
    return _Range(int(gateway(subnet)) + 1, max(subnet.num_addresses - 3, 1))


def free_address(subnet: IPv4Network, seed: str, in_use: Iterable[IPv4Address]) -> IPv4Address:
    """An address in the upper half of a subnet by the hash of `seed`, or the next free one.

    Docker hands out the lowest addresses first, so containers that it gives addresses to rarely
    get this one. Without a free address the one by the hash: Docker then names who has it.
    """
    usable, numbers = _usable(subnet), {int(address) for address in in_use}
    half = usable.size // 2
    hashed = int.from_bytes(sha256(seed.encode()).digest()[:8], "big")
    start = half + hashed % (usable.size - half)
    offsets = ((start + step) % usable.size for step in range(usable.size))
    free = (number for offset in offsets if (number := usable.first + offset) not in numbers)
    return IPv4Address(next(free, usable.first + start))

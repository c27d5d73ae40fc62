"""`guests:` of the inventory: their connections, and reasons why a host cannot make one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from types import MappingProxyType

from provision import methods
from provision.facts import docker_entry
from provision.facts.docker_entry import DockerEntry
from provision.facts.host import HostFacts
from provision.methods import NamedMember
from provision.model.inventory import Guest, Inventory, Network
from provision.model.problems import Problem
from provision.model.suggest import nearest
from provision.model.text import listed
from provision.resources.base import State
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.guest import GuestConnection
from provision.resources.lib.docker_api import docker_name

Facts = Mapping[str, HostFacts]


def connections(
    inventory: Inventory,
    facts: Facts,
    networks: State,
    named: Mapping[str, NamedMember] = MappingProxyType({}),
) -> Iterator[GuestConnection]:
    """Yield the connection of each guest.

    `networks` are the wanted resources of the networks, `named` the members of those with names.
    """
    for guest in inventory.guests.values():
        if guest.host not in facts or not guest.declared:
            continue
        network = inventory.networks[guest.network]
        ref = methods.of(network).docker_network(network, guest.host)
        member = named.get(guest.name)
        proposed = member.proposed if member else None
        yield GuestConnection(
            guest.host,
            guest.name,
            docker_name(ref),
            f"{guest.selector} {guest.text}",
            guest.address,
            peers(network, guest.host, networks.get(ref)),
            inventory.name,
            proposed=proposed,
            dns_names=member.names if member and proposed else (),
            needs=(ref,),
        )


def peers(network: Network, host: str, resource: object) -> IPv4Network | None:
    """The range to which a guest needs a route by the network's gateway.

    None where Docker's network has the whole range: then the peers are on the guest's own link.
    """
    subnet = network.subnets[host]
    if isinstance(resource, DockerNetwork) and resource.subnet is not None:
        subnet = resource.subnet
    return None if network.cidr.subnet_of(subnet) else network.cidr


def problems(inventory: Inventory, facts: Facts) -> Iterator[Problem]:
    """Yield the reasons why a host in `facts` cannot connect one of its guests."""
    for guest in inventory.guests.values():
        host = facts.get(guest.host)
        if host is not None and (host.docker_containers or host.docker):
            for message, hint in _mistakes(inventory, guest, host, facts):
                yield Problem(guest.host, f"{guest.position}: guest {guest.name}: {message}", hint)


def _mistakes(
    inventory: Inventory, guest: Guest, host: HostFacts, facts: Facts
) -> Iterator[tuple[str, str]]:
    matches = docker_entry.matches(guest, host.docker_containers)
    if not matches:
        if not guest.waits and guest.name not in host.guests:
            yield f"{guest.host} has no {_selected(guest)}", _absent_hint(guest, facts)
        return
    if len(matches) > 1:
        names = listed(tuple(match.name for match in matches))
        hint = "write container: NAME for one of them, or a label that one alone has"
        yield f"{_selected(guest)} matches {len(matches)} on {guest.host}: {names}", hint
        return
    (entry,) = matches
    network = inventory.networks[guest.network]
    docker = docker_name(methods.of(network).docker_network(network, guest.host))
    yield from _entry_mistakes(inventory, entry)
    if guest.address is None or guest.name in host.guests:
        return
    fixed = entry.fixed.get(docker)
    if docker in entry.addresses and fixed != guest.address:
        has = f"the address {fixed}" if fixed else "an address that Docker chose"
        message = f"others have connected {entry.name} to {docker} with {has}, not {guest.address}"
        yield message, f"remove address, or run `docker network disconnect {docker} {entry.name}`"
    for neighbour in host.docker_containers:
        if neighbour is not entry and neighbour.addresses.get(docker) == guest.address:
            hint = "choose another address"
            yield (
                f"container {neighbour.name} of {guest.host} has the address {guest.address}",
                hint,
            )


def _entry_mistakes(inventory: Inventory, entry: DockerEntry) -> Iterator[tuple[str, str]]:
    owner = entry.mark.inventory
    if owner == inventory.name:
        yield f"container {entry.name} belongs to this inventory", "remove the guest"
    elif owner:
        # That inventory would see its container changed, and apply it again without our network.
        hint = f"let inventory {owner} connect it, or disconnect it there"
        yield f"container {entry.name} belongs to inventory {owner}", hint
    mode, _, shared = entry.mode.partition(":")
    if mode in ("host", "none", "container"):
        hint = f"name the container {shared} instead" if shared else "run it with a network"
        yield f"container {entry.name} has the network mode {mode}: it can join no network", hint


def _selected(guest: Guest) -> str:
    label = guest.selector == "label"
    return f"container with the label {guest.text}" if label else f"container {guest.text}"


def _absent_hint(guest: Guest, facts: Facts) -> str:
    for host, of_host in facts.items():
        if host != guest.host and docker_entry.matches(guest, of_host.docker_containers):
            return f"{host} has it: write host: {host}"
    wait = "start it first, or write absent: wait"
    if guest.selector == "container":
        names = tuple(entry.name for entry in facts[guest.host].docker_containers)
        near = nearest(guest.text, names)
        return f"did you mean {near}? {wait.capitalize()}" if near else wait
    return wait


def warnings(inventory: Inventory, facts: Facts) -> Iterator[Problem]:
    """Yield the guests that are not there, or do not run: the follower connects those later."""
    for guest in inventory.guests.values():
        host = facts.get(guest.host)
        if host is None or not (host.docker_containers or host.docker):
            continue
        matches = docker_entry.matches(guest, host.docker_containers)
        subject = f"{guest.position}: guest {guest.name}"
        if not matches and (guest.waits or guest.name in host.guests):
            message = f"{subject}: {guest.host} has no {_selected(guest)}"
            yield Problem(guest.host, message, "the host connects it as soon as it starts")
        elif len(matches) == 1 and not matches[0].running:
            message = f"{subject}: container {matches[0].name} does not run"
            yield Problem(guest.host, message, f"docker start {matches[0].name}")

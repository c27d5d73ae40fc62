"""What containers mean to hosts and networks: membership, fixed addresses, room. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network

from provision import address
from provision.complaint import Complaint, Loc, quoted, some
from provision.inventory_decode import Decoded
from provision.inventory_schema import ContainerDocument
from provision.name_text import DOCKER_WORDS
from provision.subnets import Layout, Subnets
from provision.suggest import did_you_mean


def container_rules(decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    """Every complaint about how containers fit the rest."""
    for name, container in decoded.containers.items():
        loc: Loc = ("containers", name)
        wrong = [*_host(loc, container, decoded), *_network(loc, container, decoded)]
        yield from wrong
        if not wrong and container.network in laid.hosts:
            yield from _membership(loc, container, laid)
    yield from _addresses(decoded, laid.subnets)
    yield from _crowds(decoded, laid.subnets)


def _host(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Complaint]:
    hosts, name = decoded.written["hosts"], container.host
    if name in decoded.written["groups"] and name not in hosts:
        message = f"{quoted(name)} is a group, but a container runs on one host"
        yield Complaint((*loc, "host"), message, "name one host")
    elif name not in _known(hosts):
        hint = did_you_mean(name, hosts, "hosts")
        yield Complaint((*loc, "host"), f"unknown host {quoted(name)}", hint)


def _network(loc: Loc, container: ContainerDocument, decoded: Decoded) -> Iterator[Complaint]:
    networks, name = decoded.written["networks"], container.network
    if name in _known(networks):
        return
    if name in DOCKER_WORDS or name.startswith("container:"):
        message = f"network {quoted(name)} is not supported yet in this version"
        yield Complaint((*loc, "network"), message, "name one of the file's networks")
    else:
        hint = did_you_mean(name, networks, "networks")
        yield Complaint((*loc, "network"), f"unknown network {quoted(name)}", hint)


@lru_cache(maxsize=8)
def _known(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def _membership(loc: Loc, container: ContainerDocument, laid: Layout) -> Iterator[Complaint]:
    host, network = container.host, container.network
    members = laid.hosts[network]
    if host not in _known(members):
        message = f"host '{host}' is not in network '{network}'"
        hint = f"choose one of {some(members)}, or add it to the network's hosts"
        yield Complaint((*loc, "host"), message, hint)


def _addresses(decoded: Decoded, parts: Mapping[str, Subnets]) -> Iterator[Complaint]:
    """Fixed addresses, each once and where Docker can give it."""
    owners: dict[tuple[str, str], str] = {}
    for name, container in decoded.containers.items():
        subnet = parts.get(container.network, {}).get(container.host)
        if container.address is None or subnet is None:
            continue
        loc: Loc = ("containers", name, "address")
        if getattr(decoded.networks[container.network], "bridge", None) == "docker0":
            hint = f"remove it, or remove 'bridge' from network '{container.network}'"
            yield Complaint(loc, "Docker fixes no addresses on docker0", hint)
            continue
        yield from _fits(loc, container.address, container, subnet)
        first = owners.setdefault((container.network, str(container.address)), name)
        if first != name:
            message = f"containers '{first}' and '{name}' have the same address {container.address}"
            yield Complaint(loc, message, "each has its own")


def _fits(
    loc: Loc, fixed: IPv4Address, container: ContainerDocument, subnet: IPv4Network
) -> Iterator[Complaint]:
    low, high = subnet.network_address + 2, subnet.broadcast_address - 1
    hint = f"choose one from {low} to {high}"
    roles = {
        subnet.network_address: "network address",
        address.gateway(subnet): "gateway",
        subnet.broadcast_address: "broadcast address",
    }
    if fixed not in subnet:
        message = f"{fixed} is not in {container.host}'s part of '{container.network}', {subnet}"
        yield Complaint(loc, message, hint)
    elif fixed in roles:
        yield Complaint(loc, f"{fixed} is the {roles[fixed]} of {subnet}", hint)


def _crowds(decoded: Decoded, parts: Mapping[str, Subnets]) -> Iterator[Complaint]:
    """More containers than a host's part has addresses; told at the first without one."""
    seen: Counter[tuple[str, str]] = Counter()
    for name, container in decoded.containers.items():
        subnet = parts.get(container.network, {}).get(container.host)
        if subnet is None:
            continue
        place = (container.network, container.host)
        seen[place] += 1
        if seen[place] == address.room(subnet) + 1:
            message = f"{container.host}'s part of '{container.network}', {subnet}, is full"
            hint = f"it has {address.room(subnet)} addresses; use another host, or a wider part"
            yield Complaint(("containers", name, "host"), message, hint)

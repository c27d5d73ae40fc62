"""Who sits on a LAN, and what each of them is to find there on layer 2. Pure.

A seat is an interface with an address on a `pipework` network: of a container, by Docker or by us,
or the host's own. Every one asks for all others of its VLAN, and for none of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from provision import methods
from provision.engine.fleet import Fleet
from provision.methods.pipework import nic
from provision.methods.pipework.pool import METHOD
from provision.model.inventory import Container, Inventory, Network
from provision.resources.base import Ref
from provision.resources.kinds.container import DockerContainer as Found
from provision.resources.render import program_text
from provision.resources.script import quoted

# Asking an own child of a macvlan's parent, or the far side of it, is answered by nobody.
DOCKER_LINK = "eth0"


@dataclass(frozen=True, slots=True)
class LanEndpoint:
    """`name` is of the report: `web`, `web/eth1`, or a host; `pid` 0 is the host's namespace."""

    name: str
    host: str
    network: str
    vlan: int
    pid: int
    link: str
    address: IPv4Address
    mtu: int
    router: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What one seat asks of another, or of a router; `word` as `checks/lan.pl` knows it."""

    word: str
    source: LanEndpoint
    target: str
    address: IPv4Address

    @property
    def host(self) -> str:
        """Where it is asked from."""
        return self.source.host


def seats(inventory: Inventory, fleet: Fleet, hosts: Iterable[str]) -> tuple[LanEndpoint, ...]:
    """Everybody on a LAN of this inventory who runs on these hosts."""
    chosen = frozenset(hosts) & fleet.looks.keys()
    return tuple(
        seat
        for network in inventory.networks.values()
        if network.method == METHOD
        for seat in _seats(inventory, network, fleet, chosen)
    )


def _seats(
    inventory: Inventory, network: Network, fleet: Fleet, hosts: frozenset[str]
) -> Iterator[LanEndpoint]:
    mtu = methods.of(network).mtu(inventory, network, fleet.facts)
    for host in network.hosts:
        if host in hosts:
            address = inventory.hosts[host].address
            held = fleet.facts[host].link_with(address)
            if held is not None:
                router = nic.options(network).gateway
                yield LanEndpoint(host, host, network.name, 0, 0, held.name, address, mtu, router)
    for container in inventory.containers.values():
        ref = Ref(container.host, "container", container.name)
        found = fleet.looks[container.host].ours.get(ref) if container.host in hosts else None
        if isinstance(found, Found) and found.pid:
            yield from _of_docker(network, container, found, mtu)
            yield from _of_ours(network, container, found.pid, mtu)


def _of_docker(
    network: Network, container: Container, found: Found, mtu: int
) -> Iterator[LanEndpoint]:
    if container.network == network.name and found.live_address:
        where = (container.name, container.host, network.name, 0, found.pid, DOCKER_LINK)
        yield LanEndpoint(*where, found.live_address, mtu, nic.options(network).gateway)


def _of_ours(network: Network, container: Container, pid: int, mtu: int) -> Iterator[LanEndpoint]:
    for one in container.interfaces:
        four = [IPv4Interface(text) for text in one.addresses if ":" not in text]
        if one.network != network.name or not four:
            continue
        via = next((route.via for route in one.routes if route.to == "default"), "")
        router = IPv4Address(via) if via and ":" not in via else None
        name = f"{container.name}/{one.name}"
        where = (name, container.host, network.name, one.vlan, pid, one.name)
        yield LanEndpoint(*where, four[0].ip, one.mtu or mtu, router)


def questions(everybody: Iterable[LanEndpoint]) -> tuple[Question, ...]:
    """Every question that is asked."""
    all_seats = tuple(everybody)
    return tuple(wire for seat in all_seats for wire in _questions(seat, all_seats))


def _questions(seat: LanEndpoint, everybody: tuple[LanEndpoint, ...]) -> Iterator[Question]:
    yield Question("own", seat, seat.name, seat.address)
    if seat.router is not None:
        yield Question("router", seat, "gateway", seat.router)
    for other in everybody:
        same_container = bool(seat.pid) and other.pid == seat.pid and other.host == seat.host
        if other.network != seat.network or other.name == seat.name or same_container:
            continue
        word = "reach" if other.vlan == seat.vlan else "apart"
        yield Question(word, seat, other.name, other.address)


def script(asked: Iterable[Question]) -> str:
    """A script that asks, one process for each seat."""
    by_seat: dict[LanEndpoint, list[str]] = {}
    for wire in asked:
        by_seat.setdefault(wire.source, []).extend((wire.word, wire.target, str(wire.address)))
    if not by_seat:
        return ""
    lines = [f"lan={quoted((program_text('checks/lan.pl'),))}"]
    for seat, words in by_seat.items():
        program = ("perl", "-e")
        enter = ("nsenter", "-t", str(seat.pid), "-n", *program) if seat.pid else program
        arguments = quoted((seat.name, seat.link, str(seat.mtu), *words))
        lines.append(f'{quoted(enter)} "$lan" {arguments} &')
    return "\n".join(lines) + "\n"

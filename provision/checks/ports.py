"""Who opens which port: published ones from afar, and those that show a container's mode. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision.checks.probe import Endpoint, Listener
from provision.model.inventory import Container, Inventory, Port

LOOPBACK = IPv4Address("127.0.0.1")
SSHD = 22
"""A port at which something answers on every host."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published port as `caller` meets it: a container, or with None the host `by` itself."""

    caller: str | None
    by: str
    target: Container
    port: Port
    address: IPv4Address

    @property
    def label(self) -> str:
        """How its answer is named."""
        return f"port={self.port}"

    @property
    def source(self) -> str:
        """The caller's name, as the report prints it."""
        return self.caller or self.by


@dataclass(frozen=True, slots=True)
class Opening:
    """A port that is opened in the namespace of process `pid` (0: the host's) of host `by`.

    `own`: the listener of the checks answers there, and sends back what it got.
    """

    label: str
    source: str
    by: str
    pid: int
    target: str
    protocol: str
    address: IPv4Address
    port: int
    own: bool

    @property
    def words(self) -> tuple[str, ...]:
        """Arguments of the script that opens it."""
        how = "own" if self.own else "held"
        return (self.target, self.label, self.protocol, str(self.address), str(self.port), how)


def publications(inventory: Inventory, hosts: tuple[str, ...]) -> Iterator[Publication]:
    """Every published port of `hosts`, for every other host and the containers there.

    From the same host only where nobody else may (127.0.0.1) or is there: Docker keeps two of its
    bridges on one host apart, also by a published port.
    """
    chosen = [container for container in inventory.containers.values() if container.host in hosts]
    for target in chosen:
        for port in target.ports:
            address = port.ip or inventory.hosts[target.host].address
            others = [host for host in hosts if host != target.host]
            if address.is_loopback or not others:
                yield Publication(None, target.host, target, port, address)
                continue
            for host in others:
                yield Publication(None, host, target, port, address)
            for caller in chosen:
                if caller.host != target.host and _leaves(inventory, caller, target.host):
                    yield Publication(caller.name, caller.host, target, port, address)


def _leaves(inventory: Inventory, caller: Container, to: str) -> bool:
    """Whether a container has a way of its own to another host."""
    network = inventory.networks.get(caller.network)
    if network is None:
        return caller.network == "bridge"
    return network.egress == "masquerade" or to in network.hosts


def openings(
    inventory: Inventory,
    hosts: tuple[str, ...],
    ends: Mapping[str, Endpoint],
    listeners: Mapping[str, Listener],
) -> Iterator[Opening]:
    """All that is to be opened, now that it is known who listens where."""
    for one in publications(inventory, hosts):
        if one.caller is None or one.caller in ends:
            yield _published(one, ends, listeners)
    for name, listener in listeners.items():
        yield from _inside(ends[name], listener)
    for container in inventory.containers.values():
        if container.name in ends:
            yield from _of_mode(inventory, container, ends, listeners)


def _published(
    one: Publication, ends: Mapping[str, Endpoint], listeners: Mapping[str, Listener]
) -> Opening:
    listener = listeners.get(one.target.name)
    held = listener is not None and inner(one.port) in listener.held
    return Opening(
        one.label,
        one.source,
        one.by,
        ends[one.caller].pid if one.caller else 0,
        one.target.name,
        one.port.protocol,
        one.address,
        one.port.published,
        own=not held,
    )


def _inside(end: Endpoint, listener: Listener) -> Iterator[Opening]:
    """What a program of the container answers from within is what it has to answer from afar."""
    for program in listener.held:
        protocol, _, port = program.partition("/")
        where = (end.container, end.host, end.pid, end.container, protocol)
        at = end.address or LOOPBACK
        yield Opening(f"inside={program}", *where, at, int(port), own=False)


def _of_mode(
    inventory: Inventory,
    container: Container,
    ends: Mapping[str, Endpoint],
    listeners: Mapping[str, Listener],
) -> Iterator[Opening]:
    caller = (container.name, container.host, ends[container.name].pid)
    owner = container.namespace_owner
    if owner is not None and owner in listeners:
        yield Opening("lo", *caller, owner, "tcp", LOOPBACK, listeners[owner].port, own=True)
    if container.network == "none" and not container.interfaces:
        for host in inventory.hosts.values():
            yield Opening("alone", *caller, host.name, "tcp", host.address, SSHD, own=False)


def inner(port: Port) -> str:
    """The port inside, as a listener is told it: `tcp/80`."""
    return f"{port.protocol}/{port.target}"


def by_source(found: Iterable[Opening]) -> Mapping[tuple[str, int], tuple[Opening, ...]]:
    """Openings by source and process: one process opens all of a namespace."""
    grouped: dict[tuple[str, int], list[Opening]] = {}
    for one in found:
        grouped.setdefault((one.source, one.pid), []).append(one)
    return {key: tuple(group) for key, group in grouped.items()}

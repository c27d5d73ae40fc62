"""Port checks: each caller of each published port, and ports that prove a network mode. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from provision import methods
from provision.checks.pair_choice import ALL_PAIRS, PairChoice
from provision.checks.probe import Endpoint, Listener
from provision.model.inventory import Container, Inventory, Port

LOOPBACK = IPv4Address("127.0.0.1")
SSHD = 22
"""A port at which a program listens on every host."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published port and one of its callers: a container, or the host `by` itself if None."""

    caller: str | None
    by: str
    target: Container
    port: Port
    address: IPv4Address

    @property
    def check(self) -> str:
        """The key of its answer."""
        return f"port={self.port}"

    @property
    def source(self) -> str:
        """The name of the caller in the report."""
        return self.caller or self.by


@dataclass(frozen=True, slots=True)
class Opening:
    """A port to open from the namespace of process `pid` (0: the host's own) on host `by`.

    `own` is True if our listener answers there, which returns the bytes that it gets.
    """

    check: str
    source: str
    by: str
    pid: int
    target: str
    protocol: str
    address: IPv4Address
    port: int
    our_listener: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of `checks/open.pl`."""
        listener = "own" if self.our_listener else "held"
        return (
            self.target,
            self.check,
            self.protocol,
            str(self.address),
            str(self.port),
            listener,
        )


def publications(
    inventory: Inventory, hosts: tuple[str, ...], choice: PairChoice = ALL_PAIRS
) -> Iterator[Publication]:
    """Every published port of `hosts`, with each other host and the containers there as callers.

    A choice that samples pairs keeps the next host, and as many random callers as it has targets
    for a container.
    The host itself is the caller only if no other can be (127.0.0.1, or no other host in `hosts`):
    Docker isolates its bridges on one host from each other, also through published ports.
    """
    containers = [c for c in inventory.members.values() if c.host in hosts]
    for target in containers:
        for port in target.ports:
            address = port.ip or inventory.hosts[target.host].address
            peers = [host for host in hosts if host != target.host]
            if address.is_loopback or not peers:
                yield Publication(None, target.host, target, port, address)
                continue
            callers: list[tuple[str | None, str]] = [(None, host) for host in peers]
            callers += [
                (caller.name, caller.host)
                for caller in containers
                if caller.host != target.host
                and not caller.base  # it calls from its first network
                and _routes_to(inventory, caller, target.host)
            ]
            neighbour = (None, hosts[(hosts.index(target.host) + 1) % len(hosts)])
            for name, host in choice.callers(callers, neighbour, f"{target.name} {port}"):
                yield Publication(name, host, target, port, address)


def _routes_to(inventory: Inventory, caller: Container, host: str) -> bool:
    """True if packets of the container itself reach another host."""
    network = inventory.networks.get(caller.network)
    if network is None:
        return caller.network == "bridge"
    method = methods.of(network)
    if not method.uses_bridge and method.lan_router(network) is None:
        return inventory.hosts[host].address in network.cidr  # the LAN is all that it reaches
    return network.egress == "masquerade" or host in network.hosts


def openings(
    inventory: Inventory,
    hosts: tuple[str, ...],
    endpoints: Mapping[str, Endpoint],
    listeners: Mapping[str, Listener],
    choice: PairChoice = ALL_PAIRS,
) -> Iterator[Opening]:
    """Every port to open, once the listeners run."""
    for publication in publications(inventory, hosts, choice):
        if publication.caller is None or publication.caller in endpoints:
            yield _published(publication, endpoints, listeners)
    for name, listener in listeners.items():
        yield from _inside(endpoints[name], listener)
    for container in inventory.members.values():
        if container.name in endpoints:
            yield from _of_mode(inventory, container, endpoints, listeners)


def _published(
    publication: Publication, endpoints: Mapping[str, Endpoint], listeners: Mapping[str, Listener]
) -> Opening:
    listener = listeners.get(publication.target.name)
    port = publication.port
    return Opening(
        publication.check,
        publication.source,
        publication.by,
        endpoints[publication.caller].pid if publication.caller else 0,
        publication.target.name,
        port.protocol,
        publication.address,
        port.published,
        our_listener=listener is None or container_port(port) not in listener.program_ports,
    )


def _inside(endpoint: Endpoint, listener: Listener) -> Iterator[Opening]:
    """Ports of the container's own programs, from inside: the answer that others must get too."""
    name = endpoint.container
    for program_port in listener.program_ports:
        protocol, _, port = program_port.partition("/")
        yield Opening(
            f"inside={program_port}",
            name,
            endpoint.host,
            endpoint.pid,
            name,
            protocol,
            endpoint.address or LOOPBACK,
            int(port),
            our_listener=False,
        )


def _of_mode(
    inventory: Inventory,
    container: Container,
    endpoints: Mapping[str, Endpoint],
    listeners: Mapping[str, Listener],
) -> Iterator[Opening]:
    caller = (container.name, container.host, endpoints[container.name].pid)
    owner = container.namespace_owner
    if owner is not None and owner in listeners:
        yield Opening(
            "lo", *caller, owner, "tcp", LOOPBACK, listeners[owner].port, our_listener=True
        )
    # sshd answers on every host: without a route the connection fails before it leaves.
    if container.network == "none" and not container.interfaces:
        for host in inventory.hosts.values():
            yield Opening(
                "alone", *caller, host.name, "tcp", host.address, SSHD, our_listener=False
            )


def container_port(port: Port) -> str:
    """The port inside the container, as a listener names it: `tcp/80`."""
    return f"{port.protocol}/{port.target}"


def by_source(openings: Iterable[Opening]) -> Mapping[tuple[str, int], tuple[Opening, ...]]:
    """Openings by source and PID: one process opens all of a namespace."""
    grouped: dict[tuple[str, int], list[Opening]] = {}
    for opening in openings:
        grouped.setdefault((opening.source, opening.pid), []).append(opening)
    return {key: tuple(group) for key, group in grouped.items()}

"""Interfaces on a LAN, and the layer 2 probes between them. Pure.

An endpoint is an interface with an address on a network on the hosts' LAN: that of a container,
made by Docker or by us, or the host's own. Each one probes every other of its VLAN, which must
answer, and every other of another VLAN, which must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface

from provision import methods
from provision.checks.pair_choice import ALL_PAIRS, PairChoice
from provision.engine.fleet import Fleet
from provision.engine.members import Member, members
from provision.model.grouping import grouped
from provision.model.inventory import Container, Inventory, Network
from provision.resources.render import program_text
from provision.resources.script import quoted

DOCKER_LINK = "eth0"
"""The name that Docker gives to a container's interface on its only network."""


@dataclass(frozen=True, slots=True)
class LanEndpoint:
    """An interface on a LAN; `name` is that of the report: `web`, `web/eth1`, or a host.

    `pid` 0 stands for the host's own namespace. `router` is the default gateway, if any.
    `reaches_host`: the kernel passes packets between a host and its own containers.
    """

    name: str
    host: str
    network: str
    vlan: int
    pid: int
    link: str
    address: IPv4Address
    mtu: int
    router: IPv4Address | None = None
    reaches_host: bool = True

    @property
    def key(self) -> str:
        """The key among hosts and containers (`end_key`)."""
        return end_key(self.name, is_host=not self.pid)


@dataclass(frozen=True, slots=True)
class LanProbe:
    """A probe of one address from one endpoint.

    `kind` is that of `checks/lan.pl`: `reach` and `router` (one machine must answer ARP), `own`
    (no other machine may), `apart` (none may: it is in another VLAN). `host_ends` are those of
    `from` and `to` that are hosts.
    """

    kind: str
    source: LanEndpoint
    target: str
    address: IPv4Address
    host_ends: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host that sends it."""
        return self.source.host

    @property
    def target_key(self) -> str:
        """The key of the target among hosts and containers (`end_key`)."""
        return end_key(self.target, is_host="to" in self.host_ends)


def end_key(name: str, *, is_host: bool) -> str:
    """The key of an end of checks: a container may have the name of a host, but no colon."""
    return f"host:{name}" if is_host else name


def endpoints(inventory: Inventory, fleet: Fleet, hosts: Iterable[str]) -> tuple[LanEndpoint, ...]:
    """Every endpoint on a LAN of this inventory on these hosts."""
    reached = frozenset(hosts) & fleet.snapshots.keys()
    return tuple(
        replace(endpoint, reaches_host=methods.of(network).uses_bridge)
        for network in inventory.networks.values()
        if methods.of(network).on_hosts_lan
        for endpoint in _endpoints(inventory, network, fleet, reached)
    )


def _endpoints(
    inventory: Inventory, network: Network, fleet: Fleet, hosts: frozenset[str]
) -> Iterator[LanEndpoint]:
    mtu = methods.of(network).mtu(inventory, network, fleet.facts)
    for host in network.hosts:
        if host in hosts:
            yield from _of_host(inventory, network, fleet, host, mtu)
    for member in members(inventory, fleet):
        if member.container.host in hosts:
            yield from _of_docker(network, member, mtu)
            yield from _of_interfaces(network, member.container, member.pid, mtu)


def _of_host(
    inventory: Inventory, network: Network, fleet: Fleet, host: str, mtu: int
) -> Iterator[LanEndpoint]:
    address = inventory.hosts[host].address
    link = fleet.facts[host].link_with(address)
    # A range of its own on the hosts' wire: a container there has no route to the host's address.
    if link is not None and address in network.cidr:
        router = methods.of(network).lan_router(network)
        yield LanEndpoint(host, host, network.name, 0, 0, link.name, address, mtu, router)


def _of_docker(network: Network, member: Member, mtu: int) -> Iterator[LanEndpoint]:
    container = member.container
    # A guest's interface has a name that Docker chose by the order of its networks.
    if container.network == network.name and member.address and container.guest is None:
        yield LanEndpoint(
            container.name,
            container.host,
            network.name,
            0,
            member.pid,
            DOCKER_LINK,
            member.address,
            mtu,
            methods.of(network).lan_router(network),
        )


def _of_interfaces(
    network: Network, container: Container, pid: int, mtu: int
) -> Iterator[LanEndpoint]:
    for interface in container.interfaces:
        ipv4 = [IPv4Interface(text) for text in interface.addresses if ":" not in text]
        if interface.network != network.name or not ipv4:
            continue
        via = next((route.via for route in interface.routes if route.to == "default"), "")
        yield LanEndpoint(
            f"{container.name}/{interface.name}",
            container.host,
            network.name,
            interface.vlan,
            pid,
            interface.name,
            ipv4[0].ip,
            interface.mtu or mtu,
            IPv4Address(via) if via and ":" not in via else None,
        )


def lan_probes(
    sources: Iterable[LanEndpoint], choice: PairChoice = ALL_PAIRS
) -> tuple[LanProbe, ...]:
    """The chosen probes between these endpoints, and those of their own addresses and routers."""
    by_network = grouped(sources, lambda endpoint: endpoint.network)
    return tuple(
        probe
        for network, members in by_network.items()
        for source, targets in choice.targets(members, _host, f"lan {network}").items()
        for probe in _probes(source, targets)
    )


def _host(endpoint: LanEndpoint) -> str:
    return endpoint.host


def _probes(source: LanEndpoint, targets: tuple[LanEndpoint, ...]) -> Iterator[LanProbe]:
    of_source = () if source.pid else ("from",)
    yield LanProbe("own", source, source.name, source.address, of_source and ("from", "to"))
    if source.router is not None:
        yield LanProbe("router", source, "gateway", source.router, of_source)
    for target in targets:
        same_namespace = bool(source.pid) and (target.pid, target.host) == (source.pid, source.host)
        if target.key == source.key or same_namespace:
            continue
        # macvlan: the NIC gets no frame that one of its own children sends.
        if not source.reaches_host and _is_own_host(source, target):
            continue
        kind = "reach" if target.vlan == source.vlan else "apart"
        hosts = (*of_source, *(() if target.pid else ("to",)))
        yield LanProbe(kind, source, target.name, target.address, hosts)


def _is_own_host(first: LanEndpoint, second: LanEndpoint) -> bool:
    """True for a host and one of its own containers."""
    return first.host == second.host and (first.pid == 0) != (second.pid == 0)


def script(probes: Iterable[LanProbe]) -> str:
    """A script that sends the probes, one process an endpoint; empty without probes."""
    by_source: dict[LanEndpoint, list[str]] = {}
    for probe in probes:
        arguments = by_source.setdefault(probe.source, [])
        arguments += [probe.kind, probe.target_key, str(probe.address)]
    if not by_source:
        return ""
    lines = [f"lan={quoted((program_text('checks/lan.pl'),))}"]
    for source, arguments in by_source.items():
        program = ("perl", "-e")
        enter = ("nsenter", "-t", str(source.pid), "-n", *program) if source.pid else program
        argv = quoted((source.key, source.link, str(source.mtu), *arguments))
        lines.append(f'{quoted(enter)} "$lan" {argv} &')
    return "\n".join(lines) + "\n"

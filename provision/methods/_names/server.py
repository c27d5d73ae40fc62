"""The DNS server of a network on each host: its service, records, ports and packets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.methods._base import Method
from provision.methods._names.forwards import (
    names_here,
    of_further_network,
    of_network,
    reverse_zones,
)
from provision.methods._names.members import NamedMember, is_live, members
from provision.methods._shared import docker_bridge
from provision.model.inventory import Container, Inventory, Network
from provision.model.names import gateway
from provision.model.needs import Inbound, Need, Transit
from provision.resources.base import Resource
from provision.resources.kinds.dns_records import DnsRecords, DnsRow, live_folder
from provision.resources.kinds.service import Service, head
from provision.resources.on_hosts import Mark, service_name
from provision.resources.render import render

TOOL = "dnsmasq"
PORTS = ("udp/53", "tcp/53")
TTL_S = 5
"""Seconds for which others may keep an answer: a container that moves is found again then."""


def address(network: Network, host: str) -> IPv4Address:
    """The address at which a host's containers ask: the gateway on the bridge."""
    return gateway(network.subnets[host])


def obstacle(method: Method, options: object) -> tuple[str, str] | None:
    """Message and hint for a network whose containers have no DNS server of ours."""
    if method.on_hosts_lan:
        message = (
            f"method {method.name} puts containers on the LAN of the hosts, where no host has a "
            "gateway of its own that could answer"
        )
        return message, "remove it, and name them in the DNS server of that LAN"
    if docker_bridge.uses_docker0(options):
        message = "Docker fixes no addresses on docker0, so its containers can have no names"
        return message, "remove it, or remove 'bridge'"
    return None


def unit(inventory: Inventory, network: Network) -> str:
    """The systemd service of the server, the same on every host."""
    return service_name(inventory.name, network.name, "dns")


def resources(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> Iterator[Resource]:
    """Yield the records and the service of each host of a network with names."""
    if network.names is None:
        return
    own = members(inventory, network, facts)
    rows = tuple(
        DnsRow.of(each.address, (*each.names, *each.shared))
        for each in own
        if each.proposed is None
    )
    further = _further_networks(inventory, network)
    names = dict.fromkeys(name for of_host in further.values() for name in of_host)
    of_further = {name: members(inventory, inventory.networks[name], facts) for name in names}
    known = {name for each in own for name in (*each.names, *each.shared)}
    dotted = {name: tuple(_dotted_rows(of_further[name], known)) for name in names}
    for host in network.hosts:
        if host in facts:
            networks = further.get(host, {})
            of_others = (row for name in networks for row in dotted[name])
            forwards = [*of_network(network, own, host)]
            for name in networks:
                other = inventory.networks[name]
                forwards += of_further_network(other, of_further[name], host, known)
            records = DnsRecords(
                host,
                network.name,
                inventory.name,
                (*rows, *of_others),
                service=unit(inventory, network),
                here=names_here(own, host),
                forwards=tuple(forwards),
            )
            yield records
            yield _service(inventory, network, records)


def _further_networks(inventory: Inventory, network: Network) -> dict[str, dict[str, None]]:
    """The other networks with names of containers that ask this network's server, by host."""
    further: dict[str, dict[str, None]] = {}
    for container in inventory.containers.values():
        if asked_network(inventory, container) is network:
            for name in _networks_of(container):
                joined = inventory.networks.get(name, network)
                if joined is not network and joined.names is not None:
                    further.setdefault(container.host, {})[name] = None
    return further


def asked_network(inventory: Inventory, container: Container) -> Network | None:
    """The network whose server a container asks: the first of its networks that has names."""
    container = inventory.containers.get(container.own_name, container)
    networks = map(inventory.networks.get, _networks_of(container))
    return next((each for each in networks if each and each.names is not None), None)


def _networks_of(container: Container) -> tuple[str, ...]:
    return (container.network, *(further.name for further in container.networks))


def _dotted_rows(of_network: Iterable[NamedMember], known: Set[str]) -> Iterator[DnsRow]:
    """Yield the rows of a further network, with names that have a dot and are not `known`."""
    for each in of_network:
        if each.proposed is not None:
            continue
        dotted = (name for name in (*each.names, *each.shared) if "." in name)
        if names := tuple(name for name in dotted if name not in known):
            yield DnsRow.of(each.address, names)


def _service(inventory: Inventory, network: Network, records: DnsRecords) -> Service:
    mark = Mark(inventory.name, network.name)
    needs = (records.ref,)
    after = (docker_bridge.docker_network(network, records.host),)
    domain = f"{network.name}.{network.names}" if network.names else ""
    return Service(
        records.host,
        unit(inventory, network),
        mark,
        render(
            "names/dnsmasq.service.j2",
            head=head(mark, needs, after),
            mark=mark,
            address=address(network, records.host),
            hosts=records.hosts_path,
            local=records.local_path,
            live=live_folder(inventory.name, network.name) if records.here else "",
            forwards=bool(records.forwards),
            ttl=TTL_S,
            domains=[*([domain] if domain else []), *reverse_zones(network.cidr)],
        ),
        stop_effect="containers find no names until the DNS server is back",
        needs=needs,
        started_after=after,
    )


def firewall_needs(
    inventory: Inventory, network: Network, facts: HostFacts, transits: Iterable[Need]
) -> Iterator[Inbound]:
    """Yield the questions of containers, which come in by the bridge, and those of other hosts.

    Other hosts ask for the guests of this one, by the links of the packets to its containers
    (`transits`) or by the bridge, if that is one layer 2 with theirs.
    """
    if network.names is None:
        return
    bridge = docker_bridge.bridge_name(inventory, network)
    asked = {(network.subnets[facts.host], bridge)}
    if any(is_live(each) for each in inventory.members.values() if _is_at(each, network, facts)):
        links = {need.nic for need in transits if isinstance(need, Transit)}
        asked = (
            asked | {(network.cidr, nic) for nic in links} if links else {(network.cidr, bridge)}
        )
    for protocol in ("tcp", "udp"):
        for source, nic in sorted(asked):
            yield Inbound(protocol, (53,), source, nic)


def _is_at(container: Container, network: Network, facts: HostFacts) -> bool:
    return (container.network, container.host) == (network.name, facts.host)

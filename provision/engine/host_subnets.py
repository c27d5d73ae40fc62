"""The subnets that hosts keep: those that they have already. Pure.

The file gives a host without a written subnet the one of its position, which another host in the
file moves. So where hosts have subnets of a network already, these count, and only a new host gets
one by the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from provision import methods
from provision.engine.applied_ranges import applied_ranges
from provision.engine.claimed_subnets import NetworkSubnets, Subnets, with_claims
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.ranges import RangeSet, free_blocks, placed
from provision.model.text import listed
from provision.resources.base import State
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.etcd_lease import EtcdLease


@dataclass(frozen=True, slots=True)
class SettledInventory:
    """An inventory with the subnets that its hosts keep.

    `problems` are of hosts that get a subnet, while that of another host is not known.
    """

    inventory: Inventory
    problems: tuple[Problem, ...] = ()


def settled_inventory(
    inventory: Inventory,
    current: State,
    silent: Collection[str] = (),
    *,
    facts: Mapping[str, HostFacts] = MappingProxyType({}),
) -> SettledInventory:
    """The inventory with the subnets that hosts have.

    `current` are its resources on all hosts that answered, `silent` the other hosts, and `facts`
    those of the hosts with routes that daemons have learned.
    """
    by_host = subnets_by_host(inventory, current)
    if not any(by_host.values()):
        return SettledInventory(inventory)
    subnets = with_claims(inventory, by_host, current, facts)
    kept = with_subnets(inventory, subnets)
    problems = (
        problem
        for name, network in kept.networks.items()
        if silent and methods.of(network).subnet_bounds(network)
        for problem in _unknown_subnets(network, subnets[name], silent)
    )
    return SettledInventory(kept, tuple(problems))


def subnets_by_host(inventory: Inventory, current: State) -> dict[str, dict[str, IPv4Network]]:
    """The subnet of each network and host, as resources on the host itself tell it.

    The iptables chain counts more than the Docker network, which people edit, and which is unknown
    while dockerd does not run.
    """
    subnets: dict[str, dict[str, IPv4Network]] = {name: {} for name in inventory.networks}
    for entry in applied_ranges(current):
        if entry.mark.inventory == inventory.name and entry.subnet is not None:
            subnets.get(entry.mark.network, {}).setdefault(entry.host, entry.subnet)
    for network in inventory.networks.values():
        for host in network.hosts:
            subnet = docker_subnet(network, host, current)
            if subnet is not None:
                subnets[network.name].setdefault(host, subnet)
    for resource in current.values():
        if isinstance(resource, EtcdLease) and resource.network in subnets:
            subnets[resource.network].setdefault(resource.host, resource.subnet)
    return subnets


def docker_subnet(network: Network, host: str, current: State) -> IPv4Network | None:
    """The part of a network from which a host's Docker gives addresses; None if it is unknown."""
    match current.get(methods.of(network).docker_network(network, host)):
        case DockerNetwork(subnet=subnet, ip_range=ip_range) if ip_range or subnet:
            return ip_range or subnet
        case Docker0(effective=effective) if {"range", "subnet"} & dict(effective).keys():
            reported = dict(effective)
            return IPv4Network(reported.get("range") or reported["subnet"])
    return None


def with_subnets(inventory: Inventory, subnets: Mapping[str, NetworkSubnets]) -> Inventory:
    """The inventory with these subnets of its networks, where the file and the methods let them."""
    networks = {
        name: _settled_network(network, subnets[name])
        for name, network in inventory.networks.items()
    }
    if all(networks[name] is network for name, network in inventory.networks.items()):
        return inventory
    return replace(inventory, networks=networks)


def _settled_network(network: Network, subnets: NetworkSubnets) -> Network:
    """The network with the subnets that its hosts keep, and free ones for its other hosts."""
    bounds = methods.of(network).subnet_bounds(network)
    kept = _kept_subnets(network, subnets, *bounds) if bounds else {}
    displaced = [host for host, subnet in kept.items() if subnet != network.subnets[host]]
    if bounds is None or not displaced:
        return network
    settled = _placed(network, kept, subnets.departed, bounds)
    if settled is None:
        # No room is left for a new host: the others keep the beginning of their subnets.
        narrowed = {
            host: _beginning(subnet, network.subnets[host].prefixlen)
            for host, subnet in kept.items()
        }
        settled = _placed(network, narrowed, subnets.departed, bounds)
    if settled is None:
        return network
    differing = {host: net for host, net in settled.items() if net != network.subnets[host]}
    return replace(network, subnets=MappingProxyType(settled), kept=MappingProxyType(differing))


def _beginning(subnet: IPv4Network, size: int) -> IPv4Network:
    """The first part of this size of a subnet; the subnet itself if it is not wider."""
    return IPv4Network((subnet.network_address, max(subnet.prefixlen, size)))


def _placed(
    network: Network,
    kept: Subnets,
    departed: Iterable[IPv4Network],
    bounds: tuple[IPv4Address, IPv4Address],
) -> dict[str, IPv4Network] | None:
    """The subnet of each host; None if there is none for one of them."""
    low, high = bounds
    unwritten = (host for host in network.hosts if host not in network.written)
    size = network.subnets[next(unwritten)].prefixlen
    first = (int(low) - int(network.cidr.network_address)) >> (32 - size)

    def free(used: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
        unavailable = list(used)
        # A host that left the file may still use its subnet: it is given away last.
        for avoided in (departed, ()):
            for block in free_blocks(network.cidr, size, (*unavailable, *avoided), first):
                if block.network_address > high:
                    break  # the rest of a large range would take minutes
                unavailable.append(block)
                yield block

    settled = placed(network.hosts, kept, network.subnets, free)
    return settled if all(host in settled for host in network.hosts) else None


def _kept_subnets(
    network: Network, subnets: NetworkSubnets, low: IPv4Address, high: IPv4Address
) -> dict[str, IPv4Network]:
    """The written subnets, and those of hosts that the range, the size and the bounds still allow.

    One that two hosts have stays with the host to which its peers send the packets for it, else
    with the one that they know, else with the first in the file.
    """
    kept = {host: network.subnets[host] for host in network.hosts if host in network.written}
    written = RangeSet(kept.values())
    # The size of the parts of a pool follows from the number of hosts.
    any_size = methods.of(network).lan_pool(network) is not None and not network.sized
    owners: dict[IPv4Network, tuple[tuple[bool, bool, int], str]] = {}
    for position, host in enumerate(network.hosts):
        subnet = subnets.of(host)
        if (
            host not in kept
            and subnet is not None
            and (any_size or subnet.prefixlen == network.subnets[host].prefixlen)
            and subnet.subnet_of(network.cidr)
            and low <= subnet.network_address <= high
            and (not any_size or subnet.broadcast_address <= high)
            and not written.overlap(subnet)
        ):
            rank = (subnets.by_peers.get(host) == subnet, host in subnets.known, -position)
            owners[subnet] = max(owners.get(subnet, (rank, host)), (rank, host))
    return kept | {host: subnet for subnet, (_, host) in _apart(owners).items()}


_Owners = dict[IPv4Network, tuple[tuple[bool, bool, int], str]]


def _apart(owners: _Owners) -> _Owners:
    """The owners of subnets of which none covers another: of two, the one of the higher rank."""
    chosen: list[IPv4Network] = []
    for subnet in sorted(owners, key=lambda net: (net.network_address, net.prefixlen)):
        if chosen and subnet.overlaps(chosen[-1]):
            if owners[subnet] < owners[chosen[-1]]:
                continue
            chosen.pop()
        chosen.append(subnet)
    return {subnet: owners[subnet] for subnet in chosen}


def _unknown_subnets(
    network: Network, subnets: NetworkSubnets, silent: Collection[str]
) -> Iterator[Problem]:
    """Yield the hosts that could get the subnet of a host that does not answer.

    While every host that answers is at its place, only a new host before a silent one could: those
    at the end are free. A silent host that no peer knows has no subnet yet, except on a LAN.
    """
    without = [h for h in network.hosts if h not in network.written and subnets.of(h) is None]
    # On the hosts' LAN no peer knows of another host, so each silent one may have a part.
    on_lan = methods.of(network).lan_pool(network) is not None and subnets.by_host
    candidates = silent if network.kept or on_lan else subnets.known
    unknown = tuple(host for host in without if host in silent and host in candidates)
    last = without.index(unknown[-1]) if unknown else 0
    for position, host in enumerate(without if unknown else ()):
        if host not in silent and (network.kept or position < last):
            yield Problem(
                host,
                f"it has no subnet of network '{network.name}' yet, and might get that of "
                f"{listed(unknown)}, which cannot be asked",
                f"write networks.{network.name}.subnets: {{{host}: SUBNET}}, one that is free",
            )

"""The subnets that hosts keep: those that they are found to have. Pure.

The file gives a host without a written subnet the one of its position, which another host in the
file moves. So where hosts have subnets of a network already, these count, and only a new host gets
one by the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType

from provision import methods
from provision.engine.applied_ranges import applied_ranges
from provision.engine.peer_claims import PeerClaim, claims
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.ranges import Ranges, free_blocks, placed
from provision.model.text import listed
from provision.resources.base import State
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.etcd_lease import EtcdLease

Subnets = Mapping[str, IPv4Network]


@dataclass(frozen=True, slots=True)
class FoundSubnets:
    """The subnets of one network by host: `own` as hosts have them, `told` as their peers do.

    `known` are the hosts of which peers have anything; `departed` the subnets that peers have of
    hosts that left the file.
    """

    own: Subnets
    told: Subnets = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    departed: tuple[IPv4Network, ...] = ()

    def of(self, host: str) -> IPv4Network | None:
        """The subnet of a host; None if nobody tells it."""
        return self.own.get(host, self.told.get(host))


@dataclass(frozen=True, slots=True)
class SettledInventory:
    """An inventory with the subnets that its hosts keep.

    `problems` are of hosts that get a subnet, while that of another host is not known.
    """

    inventory: Inventory
    problems: tuple[Problem, ...] = ()


def settled_inventory(
    inventory: Inventory, current: State, silent: Collection[str] = ()
) -> SettledInventory:
    """The inventory with the subnets that hosts have.

    `current` are its resources on all hosts that answered, `silent` the other hosts.
    """
    own = own_subnets(inventory, current)
    if not any(own.values()):
        return SettledInventory(inventory)
    settled = {  # nothing that their peers have of these is asked for
        host
        for host in inventory.hosts
        if all(host in own[net.name] for net in inventory.networks.values() if host in net.hosts)
    } - _sharing_hosts(own)
    known = {*settled, *(str(inventory.hosts[host].address) for host in settled)}
    held: dict[str, list[PeerClaim]] = {name: [] for name in inventory.networks}
    for claim in claims(current, known):
        held.get(claim.network, []).append(claim)
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    found = {
        name: _found(network, own[name], held[name], names)
        for name, network in inventory.networks.items()
    }
    kept = with_subnets(inventory, found)
    unknown = (
        problem
        for name, network in kept.networks.items()
        if network.kept and silent
        for problem in _unknown(network, found[name], silent)
    )
    return SettledInventory(kept, tuple(unknown))


def _unknown(network: Network, found: FoundSubnets, silent: Collection[str]) -> Iterator[Problem]:
    """A host with a subnet of its own choice may be silent, and another must not get the same."""
    without = [h for h in network.hosts if h not in network.written and found.of(h) is None]
    unknown = tuple(host for host in without if host in silent)
    for host in without if unknown else ():
        if host not in silent:
            yield Problem(
                host,
                f"it has no subnet of network '{network.name}' yet, and might get that of "
                f"{listed(unknown)}, which cannot be asked",
                f"write networks.{network.name}.subnets: {{{host}: SUBNET}}, one that is free",
            )


def with_subnets(inventory: Inventory, found: Mapping[str, FoundSubnets]) -> Inventory:
    """The inventory with these subnets of its networks, where the file and the methods let them."""
    networks = {
        name: _settled(network, found[name]) if name in found else network
        for name, network in inventory.networks.items()
    }
    if all(networks[name] is network for name, network in inventory.networks.items()):
        return inventory
    return replace(inventory, networks=networks)


def own_subnets(inventory: Inventory, current: State) -> dict[str, dict[str, IPv4Network]]:
    """The subnet of each network and host, as resources on the host itself tell it.

    The iptables chain counts more than the Docker network, which people edit, and which is unknown
    while dockerd does not run.
    """
    own: dict[str, dict[str, IPv4Network]] = {name: {} for name in inventory.networks}
    for entry in applied_ranges(current):
        if entry.mark.inventory == inventory.name and entry.subnet is not None:
            own.get(entry.mark.network, {}).setdefault(entry.host, entry.subnet)
    for network in inventory.networks.values():
        for host in network.hosts:
            subnet = docker_subnet(network, host, current)
            if subnet is not None:
                own[network.name].setdefault(host, subnet)
    for resource in current.values():
        if isinstance(resource, EtcdLease) and resource.network in own:
            own[resource.network].setdefault(resource.host, resource.subnet)
    return own


def docker_subnet(network: Network, host: str, current: State) -> IPv4Network | None:
    """The part of a network from which a host's Docker gives addresses; None if it is unknown."""
    match current.get(methods.of(network).docker_network(network, host)):
        case DockerNetwork(subnet=subnet, ip_range=ip_range) if ip_range or subnet:
            return ip_range or subnet
        case Docker0(effective=effective) if {"range", "subnet"} & dict(effective).keys():
            reported = dict(effective)
            return IPv4Network(reported.get("range") or reported["subnet"])
    return None


def _sharing_hosts(own: Mapping[str, Subnets]) -> set[str]:
    """Hosts that have a subnet of which another host has exactly the same."""
    sharing: set[str] = set()
    for subnets in own.values():
        owners: dict[IPv4Network, str] = {}
        for host, subnet in subnets.items():
            first = owners.setdefault(subnet, host)
            sharing |= {first, host} if first != host else set()
    return sharing


def _found(
    network: Network, own: Subnets, held: Iterable[PeerClaim], names: Mapping[str, str]
) -> FoundSubnets:
    """The subnets of a network by the claims `held` of peers; `names` of hosts by address."""
    told: dict[str, IPv4Network] = {}
    known: set[str] = set()
    departed: dict[IPv4Network, None] = {}
    for claim in held:
        host = names.get(claim.peer, claim.peer)
        if host in network.subnets:
            known.add(host)
            if claim.subnet is not None:
                told.setdefault(host, claim.subnet)
        elif claim.subnet is not None:
            departed[claim.subnet] = None
    return FoundSubnets(own, told, frozenset(known), tuple(departed))


def _settled(network: Network, found: FoundSubnets) -> Network:
    """The network with the subnets that its hosts keep, and free ones for its other hosts."""
    bounds = methods.of(network).subnet_bounds(network)
    kept = _kept(network, found, *bounds) if bounds else {}
    moved = [host for host, subnet in kept.items() if subnet != network.subnets[host]]
    if bounds is None or not moved:
        return network
    low, high = bounds
    size = network.subnets[moved[0]].prefixlen
    first = (int(low) - int(network.cidr.network_address)) >> (32 - size)

    def free(used: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
        taken = list(used)
        # A host that left the file may still use its subnet: it is given away last.
        for avoided in (found.departed, ()):
            for block in free_blocks(network.cidr, size, (*taken, *avoided), first):
                if block.network_address <= high:
                    taken.append(block)
                    yield block

    subnets = placed(network.hosts, kept, network.subnets, free)
    if any(host not in subnets for host in network.hosts):
        return network
    others = {host: net for host, net in subnets.items() if net != network.subnets[host]}
    return replace(network, subnets=MappingProxyType(subnets), kept=MappingProxyType(others))


def _kept(
    network: Network, found: FoundSubnets, low: IPv4Address, high: IPv4Address
) -> dict[str, IPv4Network]:
    """The written subnets, and those found that the range, the size and the bounds still allow.

    One that two hosts have stays with the host to which its peers send the packets for it, else
    with the one that they know, else with the first in the file.
    """
    kept = {host: network.subnets[host] for host in network.hosts if host in network.written}
    written = Ranges(kept.values())
    owners: dict[IPv4Network, tuple[bool, bool, int]] = {}
    winners: dict[IPv4Network, str] = {}
    for position, host in enumerate(network.hosts):
        subnet = found.of(host)
        if (
            host in kept
            or subnet is None
            or subnet.prefixlen != network.subnets[host].prefixlen
            or not subnet.subnet_of(network.cidr)
            or not low <= subnet.network_address <= high
            or written.overlap(subnet)
        ):
            continue
        rank = (found.told.get(host) == subnet, host in found.known, -position)
        if subnet not in owners or rank > owners[subnet]:
            owners[subnet], winners[subnet] = rank, host
    return kept | {host: subnet for subnet, host in winners.items()}


def explicit_lines(inventory: Inventory) -> Iterator[str]:
    """Yield what to write into the file where hosts keep subnets that it does not give them."""
    for network in inventory.networks.values():
        if network.kept:
            keepers = tuple(f"{host} {subnet}" for host, subnet in network.kept.items())
            yield (
                f"network '{network.name}': by their place in the file, hosts would get other "
                f"subnets than {listed(keepers)}, and they keep these. To make that explicit, "
                f"write: networks.{network.name}.subnets: {_written(network)}"
            )


def _written(network: Network) -> str:
    """The value of `subnets` with what it has already, and with the subnets that are kept."""
    pins = (host for host in network.hosts if host in network.written or host in network.kept)
    return "{" + ", ".join(f"{host}: {network.subnets[host]}" for host in pins) + "}"


def problems(inventory: Inventory, answered: Collection[str]) -> Iterator[Problem]:
    """Yield the fixed addresses of containers that their hosts' subnets do not have."""
    for member in inventory.members.values():
        network = inventory.networks.get(member.network)
        if network is None or member.address is None or member.host not in answered:
            continue
        subnet = network.kept.get(member.host)
        if subnet is not None and member.address not in subnet:
            wanted = IPv4Network((int(member.address), subnet.prefixlen), strict=False)
            yield Problem(
                member.host,
                f"{member.name} has address {member.address}, but {member.host} has {subnet} of "
                f"network '{network.name}'",
                f"choose an address of {subnet}, or write networks.{network.name}.subnets: "
                f"{{{member.host}: {wanted}}}, which moves all containers of {member.host} there",
            )

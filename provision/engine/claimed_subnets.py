"""What hosts and their peers tell about the subnets of each network. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network

from provision.engine import daemon_routes
from provision.engine.peer_claims import PeerClaim, claims, claims_behind_routers
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.resources.base import State

Subnets = Mapping[str, IPv4Network]


@dataclass(frozen=True, slots=True)
class NetworkSubnets:
    """The subnets of one network by host: `by_host` as hosts have them, `by_peers` as peers do.

    `known` are the hosts of which peers have anything; `departed` the subnets that peers have of
    hosts that left the network.
    """

    by_host: Subnets
    by_peers: Subnets = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    departed: tuple[IPv4Network, ...] = ()

    def of(self, host: str) -> IPv4Network | None:
        """The subnet of a host; None if neither it nor a peer has one."""
        return self.by_host.get(host, self.by_peers.get(host))


def with_claims(
    inventory: Inventory,
    by_host: Mapping[str, Subnets],
    current: State,
    facts: Mapping[str, HostFacts],
) -> dict[str, NetworkSubnets]:
    """The subnets of the hosts, and those that their peers have of other hosts."""
    # Of hosts with a subnet of their own in each of their networks, claims tell nothing more.
    sure = {
        host
        for host in inventory.hosts
        if all(
            host in by_host[name]
            for name, network in inventory.networks.items()
            if host in network.subnets
        )
    } - _sharing_hosts(by_host)
    if len(sure) == len(inventory.hosts):
        return {name: NetworkSubnets(subnets) for name, subnets in by_host.items()}
    of_networks: dict[str, list[PeerClaim]] = {name: [] for name in inventory.networks}
    for claim in claims(current, [inventory.hosts[host] for host in sure], facts):
        if claim.network in of_networks:
            of_networks[claim.network].append(claim)
    names = {str(host.address): name for name, host in inventory.hosts.items()}
    by_network = {
        name: _network_subnets(network, by_host[name], of_networks[name], names)
        for name, network in inventory.networks.items()
    }
    return _with_far_subnets(inventory, by_network, current, facts)


def _with_far_subnets(
    inventory: Inventory,
    subnets: Mapping[str, NetworkSubnets],
    current: State,
    facts: Mapping[str, HostFacts],
) -> dict[str, NetworkSubnets]:
    """Also the subnets behind routers, of which no peer's address tells whose they are."""
    used = {name: frozenset(of.by_host.values()) for name, of in subnets.items()}
    far: dict[str, list[IPv4Network]] = {}
    for claim in claims_behind_routers(inventory.networks, used, current, facts):
        if claim.subnet is not None:
            far.setdefault(claim.network, []).append(claim.subnet)
    speakers = daemon_routes.speakers(current) if far else {}
    completed = dict(subnets)
    for name, unexplained in far.items():
        of = completed[name]
        # Such a subnet may be that of a host that is silent, or that has lost all but its daemon.
        owners = {
            host
            for host in inventory.networks[name].hosts
            if of.of(host) is None and (host not in facts or host in speakers.get(name, ()))
        }
        completed[name] = (
            replace(of, known=of.known | owners)
            if owners
            else replace(of, departed=(*of.departed, *dict.fromkeys(unexplained)))
        )
    return completed


def _sharing_hosts(by_host: Mapping[str, Subnets]) -> set[str]:
    """Hosts that have a subnet of which another host has exactly the same."""
    sharing: set[str] = set()
    for subnets in by_host.values():
        owners: dict[IPv4Network, str] = {}
        for host, subnet in subnets.items():
            first = owners.setdefault(subnet, host)
            sharing |= {first, host} if first != host else set()
    return sharing


def _network_subnets(
    network: Network, by_host: Subnets, of_network: Iterable[PeerClaim], names: Mapping[str, str]
) -> NetworkSubnets:
    """The subnets of a network by the claims of its hosts; `names` of hosts by address."""
    by_peers: dict[str, IPv4Network] = {}
    known: set[str] = set()
    departed: dict[IPv4Network, None] = {}
    for claim in of_network:
        host = names.get(claim.peer, claim.peer)
        if host in network.subnets:
            known.add(host)
            if claim.subnet is not None:
                by_peers.setdefault(host, claim.subnet)
        elif claim.subnet is not None:
            departed[claim.subnet] = None
    return NetworkSubnets(by_host, by_peers, frozenset(known), tuple(departed))

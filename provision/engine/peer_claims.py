"""Routes, tunnels and leases that hosts have of their peers, with the peers' subnets. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from provision.engine import daemon_routes
from provision.facts.host import HostFacts
from provision.model.inventory import Host, Network
from provision.resources.base import Resource, State
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.routes import Routes
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.kinds.wireguard import Wireguard
from provision.resources.lib import etcd_keys

FAR_HOSTS = "hosts on other links"
"""Stands for the peers with a subnet behind a router, of which no address is known."""


class PeerClaim(NamedTuple):
    """Something of `peer`, an address or a name, that `host` has in a network of the inventory.

    `noun` names such things in a message. `subnet` is that of the peer; None if this tells none.
    """

    host: str
    peer: str
    noun: str
    network: str
    subnet: IPv4Network | None = None


def claims(
    current: State, known_hosts: Collection[Host], facts: Mapping[str, HostFacts]
) -> Iterator[PeerClaim]:
    """Yield what the resources `current` hold of peers that are not among `known_hosts`.

    `facts` have the routes that daemons of these resources have learned from peers. The routers of
    these daemons are no peers.
    """
    known = {text for host in known_hosts for text in (host.name, str(host.address))}
    known |= daemon_routes.routers(current)
    # The number of an address is compared in less time than its text is made.
    numbers = {int(host.address) for host in known_hosts}
    routers: dict[tuple[str, str, IPv4Address], str] = {}
    for resource in current.values():
        match resource:
            case Routes():
                yield from _by_routes(resource, known)
            case Vxlan(host=host, mark=mark, forwards=forwards):
                unknown = [each for each in forwards if int(each.peer) not in numbers]
                for forward in unknown:
                    yield PeerClaim(host, str(forward.peer), "FDB entries", mark.network)
                    if forward.neighbour is not None:
                        routers[host, mark.network, forward.neighbour] = str(forward.peer)
            case _:
                for peer, noun, network, subnet in _of_peers(resource):
                    if peer not in known:
                        yield PeerClaim(resource.host, peer, noun, network, subnet)
    for resource in current.values() if routers else ():
        if isinstance(resource, Routes):
            yield from _by_vxlan(resource, routers)
    for host, network, route, _ in daemon_routes.learned(current, facts):
        if route.via and route.via not in known and route.via not in _gateways(facts[host]):
            yield PeerClaim(host, route.via, "routes by BGP", network, route.dst)


def claims_behind_routers(
    networks: Mapping[str, Network],
    used: Mapping[str, Collection[IPv4Network]],
    current: State,
    facts: Mapping[str, HostFacts],
) -> Iterator[PeerClaim]:
    """Yield the routes of BGP by a router to a subnet that is not among those `used` of a network.

    Some host on another link announces it. The next hop is the router, so nothing tells which one.
    """
    routers = daemon_routes.routers(current)
    gateways = {host: _gateways(of_host) | routers for host, of_host in facts.items()}
    # Of hosts that are all on one link, without a router, no route has to be looked at.
    behind = {host: of_host for host, of_host in facts.items() if gateways[host]}
    for host, name, route, is_kept in daemon_routes.learned(current, behind):
        if is_kept or route.via not in gateways[host] or name not in networks:
            continue
        if route.dst not in used[name] and route.dst.subnet_of(networks[name].cidr):
            yield PeerClaim(host, FAR_HOSTS, "routes by BGP", name, route.dst)


def _gateways(facts: HostFacts) -> frozenset[str]:
    """The routers to hosts on other links: a route by one of them tells no peer."""
    return frozenset(str(route.via) for route in facts.peer_routes.groups if route.via)


def _by_routes(routes: Routes, known: Collection[str]) -> Iterator[PeerClaim]:
    # The text of a way is compared in less time than the text of an address is made.
    for row in routes.rows:
        via, _, rest = row.way.partition(" ")
        router = rest.partition(" ")[0]
        if via == "via" and router not in known and row.tunnel != "vxlan":
            yield PeerClaim(routes.host, router, "routes", routes.network, row.dst)


def _by_vxlan(
    routes: Routes, routers: dict[tuple[str, str, IPv4Address], str]
) -> Iterator[PeerClaim]:
    """The subnets behind a VXLAN device, whose neighbours have other addresses than the hosts."""
    for row in routes.rows:
        if row.tunnel == "vxlan" and row.via is not None:
            peer = routers.get((routes.host, routes.network, row.via))
            if peer is not None:
                yield PeerClaim(routes.host, peer, "FDB entries", routes.network, row.dst)


def _of_peers(resource: Resource) -> Iterator[tuple[str, str, str, IPv4Network | None]]:
    """Yield peer, noun, network and subnet of everything that a resource holds of a peer."""
    match resource:
        case Wireguard(peers=peers, mark=mark):
            for peer in peers:
                # A host that passes packets on has the subnets of those behind it, too.
                subnet = peer.allowed[0] if len(peer.allowed) == 1 else None
                yield peer.host, "peers", mark.network, subnet
        case OvsTunnel(options=options, mark=mark):
            for key, value in options:
                if key == "remote_ip":
                    yield value, "tunnels", mark.network, None
        case IptablesChain(table="filter", rules=rules, mark=mark):
            # Those of flannel: the ports of etcd are for the addresses of hosts.
            ends = (rule[1] for rule in rules if "--dport" in rule and rule[0] in ("-s", "-d"))
            for end in ends:
                if end.endswith("/32"):
                    yield end[:-3], "firewall rules", mark.network, None
        case EtcdConfig(stale=stale, members=members, network=network):
            records = (key for key in stale if key.startswith(f"{etcd_keys.CLAIMS}/"))
            for key in records:
                yield key.rpartition("/hosts/")[2], "leases", network, None
            for member in members:
                yield member, "etcd members", network, None

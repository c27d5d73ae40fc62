"""Warnings about hosts and networks that have left the file, and about subnets that move. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network

from provision import methods
from provision.model.inventory import Inventory, Network
from provision.model.text import listed
from provision.resources.base import Resource, State
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.nic_drop_rule import NicDropRule
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.routes import Routes
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.kinds.wireguard import Wireguard
from provision.resources.lib import etcd_keys


def warnings(inventory: Inventory, current: State) -> Iterator[str]:
    """Yield what a plan does not show by itself; `current` are this inventory's resources."""
    yield from _departed_hosts(inventory, current)
    yield from _departed_networks(inventory, current)
    for network in inventory.networks.values():
        yield from _moved_subnets(network, _current_subnets(network, current))


def _departed_hosts(inventory: Inventory, current: State) -> Iterator[str]:
    """Peers to which hosts still have routes, tunnels or leases, but that the file does not have.

    The plan removes these, and then nothing on the remaining hosts tells of such a peer.
    """
    known = {*inventory.hosts, *(str(host.address) for host in inventory.hosts.values())}
    holders: dict[str, set[str]] = {}
    nouns: set[str] = set()
    for ref, resource in current.items():
        for peer, noun in _peers(resource):
            if peer not in known:
                holders.setdefault(peer, set()).add(ref.host)
                nouns.add(noun)
    if holders:
        hosts = listed(tuple(sorted(set().union(*holders.values()))))
        yield (
            f"{hosts}: {' and '.join(sorted(nouns))} of hosts that are not in this file: "
            f"{listed(tuple(sorted(holders)))}. A host that has left the file keeps its "
            "containers, networks and routes: add it again, run "
            f"`provision destroy {inventory.path.name} --limit HOST`, then remove it"
        )


def _peers(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield the address or the name of each peer of a resource, with a noun for the message."""
    match resource:
        case Routes(rows=rows):
            # The text of a way is compared in less time than the text of an address is made.
            ways = (row.way.split(" ", 2) for row in rows if not row.onlink)
            yield from ((way[1], "routes") for way in ways if way[0] == "via")
        case Wireguard(peers=peers):
            yield from ((peer.host, "peers") for peer in peers)
        case Vxlan(forwards=forwards):
            yield from ((str(forward.peer), "FDB entries") for forward in forwards)
        case OvsTunnel(options=options):
            yield from ((value, "tunnels") for key, value in options if key == "remote_ip")
        case IptablesChain(table="filter", rules=rules):
            # Those of flannel: the ports of etcd are for the addresses of hosts.
            ends = (rule[1] for rule in rules if "--dport" in rule and rule[0] in ("-s", "-d"))
            yield from ((end[:-3], "firewall rules") for end in ends if end.endswith("/32"))
        case EtcdConfig(stale=stale, members=members):
            records = (key for key in stale if key.startswith(f"{etcd_keys.CLAIMS}/"))
            yield from ((key.rpartition("/hosts/")[2], "leases") for key in records)
            yield from ((member, "etcd members") for member in members)


_OF_NETWORKS = (DockerNetwork, IptablesChain, NicDropRule, OvsBridge, Vxlan, Wireguard)
"""Kinds whose mark names a network; that of a container may name another container."""


def _departed_networks(inventory: Inventory, current: State) -> Iterator[str]:
    holders: dict[str, set[str]] = {}
    for ref, resource in current.items():
        name = resource.network if isinstance(resource, Flannel) else ""
        if isinstance(resource, _OF_NETWORKS):
            name = resource.mark.network
        if name and name not in inventory.networks:
            holders.setdefault(name, set()).add(ref.host)
    for name, hosts in sorted(holders.items()):
        names = listed(tuple(sorted(hosts)))
        yield f"network '{name}' is not in this file any more: it is removed from {names}"


def _current_subnets(network: Network, current: State) -> dict[str, IPv4Network]:
    """The subnet that each host of a network has now, by host."""
    subnets: dict[str, IPv4Network] = {}
    for host in network.hosts:
        resource = current.get(methods.of(network).docker_network(network, host))
        match resource:
            case DockerNetwork(subnet=subnet, ip_range=ip_range) if ip_range or subnet:
                subnets[host] = ip_range or subnet or network.cidr
            case Docker0(effective=effective) if {"range", "subnet"} & dict(effective).keys():
                reported = dict(effective)
                subnets[host] = IPv4Network(reported.get("range") or reported["subnet"])
    return subnets


def _moved_subnets(network: Network, before: Mapping[str, IPv4Network]) -> Iterator[str]:
    """A host's subnet follows from its position, so that a host before it moves it.

    A range that was changed on purpose moves all subnets, and none of them can be kept.
    """
    moved = {
        host: subnet
        for host, subnet in before.items()
        if subnet != network.subnets[host] and subnet.subnet_of(network.cidr)
    }
    if not moved:
        return
    moves = tuple(f"{host} {old} → {network.subnets[host]}" for host, old in moved.items())
    yield (
        f"network '{network.name}': subnets move, and containers there get other addresses: "
        f"{listed(moves)}. {_hint(network, moved, before)}"
    )


def _hint(
    network: Network, moved: Mapping[str, IPv4Network], before: Mapping[str, IPv4Network]
) -> str:
    """The hint: pins for the moved subnets, or another place for the hosts that take them."""
    takers = tuple(
        host
        for host, subnet in network.subnets.items()
        if host not in before and any(subnet.overlaps(old) for old in moved.values())
    )
    if takers:
        return f"To keep them, list {listed(takers)} after the other hosts"
    pins = ", ".join(f"{host}: {subnet}" for host, subnet in moved.items())
    return f"To keep them, write subnets: {{{pins}}} in it"

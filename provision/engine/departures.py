"""Warnings about hosts and networks that have left the file, and about subnets that move. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain

from provision import methods
from provision.engine import daemon_routes
from provision.engine.host_subnets import docker_subnet, subnets_by_host
from provision.engine.peer_claims import PeerClaim, claims, claims_behind_routers
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.text import listed, single_line
from provision.resources.base import State
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.kinds.nic_drop_rule import NicDropRule
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.kinds.wireguard import Wireguard


def warnings(
    inventory: Inventory,
    current: State,
    facts: Mapping[str, HostFacts],
    read: State | None = None,
) -> Iterator[str]:
    """Yield what a plan does not show by itself.

    `current` are this inventory's resources on the hosts of the plan, and `read` those on all
    hosts that were read, of which `facts` are; None: the same hosts.
    """
    yield from _departed_hosts(inventory, current, facts, current if read is None else read)
    yield from _departed_networks(inventory, current)
    for network in inventory.networks.values():
        yield from _moved_subnets(network, current)


def _departed_hosts(
    inventory: Inventory, current: State, facts: Mapping[str, HostFacts], read: State
) -> Iterator[str]:
    """Peers to which hosts still have routes, tunnels or leases, but that the file does not have.

    The plan removes these, and then nothing on the remaining hosts tells of such a peer.
    """
    holders: set[str] = set()
    nouns: set[str] = set()
    subnets: dict[str, dict[str, None]] = {}
    of_peers = claims(current, inventory.hosts.values(), facts)
    for claim in chain(of_peers, _behind_routers(inventory, current, facts, read)):
        holders.add(claim.host)
        nouns.add(claim.noun)
        of_peer = subnets.setdefault(claim.peer, {})
        if claim.subnet is not None:
            of_peer[f"{claim.subnet} of network '{claim.network}'"] = None
    if subnets:
        departed = tuple(_peer_text(*each) for each in sorted(subnets.items()))
        yield (
            f"{listed(tuple(sorted(holders)))}: {' and '.join(sorted(nouns))} of hosts that are "
            f"not in this file: {listed(departed, longest=1000)}. A host that has left the file "
            "keeps its containers, networks and routes: add it again, run "
            f"`provision destroy {inventory.argument} --limit HOST`, then remove it"
        )


def _peer_text(peer: str, subnets: Collection[str]) -> str:
    shown = single_line(peer, 60)
    return f"{shown} (with {listed(tuple(subnets))})" if subnets else shown


def _behind_routers(
    inventory: Inventory, current: State, facts: Mapping[str, HostFacts], read: State
) -> Iterator[PeerClaim]:
    """The claims of peers on other links. A host that was not read may have any subnet there."""
    speakers = daemon_routes.speakers(read)
    networks = {
        name: network
        for name, network in inventory.networks.items()
        if name in speakers and facts.keys() >= set(network.hosts)
    }
    applied = subnets_by_host(inventory, read) if networks else {}
    # A damaged host may still announce its subnet. A new one has none yet.
    used = {
        name: frozenset(applied[name].values())
        | {network.subnets[host] for host in speakers[name] if host in network.subnets}
        for name, network in networks.items()
    }
    return claims_behind_routers(networks, used, current, facts)


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


def _moved_subnets(network: Network, current: State) -> Iterator[str]:
    """A host moves if the file gives its subnet to another, or other sizes to all.

    A range that was changed on purpose moves all subnets, and none of them can be kept.
    """
    moves = tuple(
        f"{host} {subnet} → {network.subnets[host]}"
        for host in network.hosts
        if (subnet := docker_subnet(network, host, current)) is not None
        and subnet != network.subnets[host]
        and subnet.subnet_of(network.cidr)
    )
    if moves:
        yield (
            f"network '{network.name}': subnets move, and containers there get other addresses: "
            f"{listed(moves)}. {_hint(network)}"
        )


def _hint(network: Network) -> str:
    if methods.of(network).subnet_bounds(network) is None:
        return "To keep them, write the former ones as subnets in it"
    return "They stay where subnets and subnet_size of the network leave room for them"

"""The peers of each host: who carries which subnet, directly or through a third host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network

from provision.methods import Facts
from provision.methods.wireguard.facts import WireguardFacts
from provision.methods.wireguard.options import endpoint, of_host, options
from provision.model.inventory import Inventory, Network
from provision.resources.lib.wireguard_conf import Peer


def relays(network: Network) -> dict[str, str]:
    """The host that passes on the packets of each host with a key `via`."""
    settings = {host: of_host(network, host).via for host in network.hosts}
    return {host: via for host, via in settings.items() if via is not None}


def next_hop(host: str, target: str, via: Callable[[str], str | None]) -> str:
    """The host to which `host` sends the packets for `target`."""
    own, far = via(host), via(target)
    if own is not None and target != own:
        return own
    return far if far is not None and host != far else target


def parts(network: Network, host: str) -> dict[str, list[IPv4Network]]:
    """The subnets that each peer of a host carries, in the order of the network's hosts."""
    via = relays(network).get
    by_peer: dict[str, list[IPv4Network]] = {}
    for target, subnet in network.subnets.items():
        if target != host:
            by_peer.setdefault(next_hop(host, target, via), []).append(subnet)
    return {peer: by_peer[peer] for peer in network.hosts if peer in by_peer}


def rows(inventory: Inventory, network: Network, facts: Facts, host: str) -> tuple[Peer, ...]:
    """The table of a host's peers. A peer whose key nobody knows yet is left out."""
    known = facts[host].of(WireguardFacts).peers.get(network.name, {})
    keys = {peer: _key(network, facts, peer, known) for peer in network.hosts}
    return tuple(
        Peer(
            peer,
            keys[peer],
            tuple(sorted(subnets)),
            endpoint(inventory, network, peer),
            options(network).keepalive,
            options(network).psk,
        )
        for peer, subnets in parts(network, host).items()
        if keys[peer]
    )


def _key(network: Network, facts: Facts, peer: str, known: Mapping[str, str]) -> str:
    """A peer's public key. While the peer does not answer, its key is as this host knows it."""
    if peer in facts:
        return facts[peer].of(WireguardFacts).keys.get(network.name, "")
    return known.get(peer, "")

"""The peers of each host: who carries which subnet, directly or through a third host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network

from provision.methods import Facts
from provision.methods.wireguard.facts import WireguardFacts
from provision.methods.wireguard.options import endpoint, of_host, options
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name
from provision.resources.kinds.wireguard import PREFIX
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
    renewing = renewal(inventory, network, facts)
    keys = {peer: _key(network, facts, peer, known) for peer in network.hosts}
    return tuple(
        Peer(
            peer,
            keys[peer],
            tuple(sorted(subnets)),
            endpoint(inventory, network, peer),
            options(network).keepalive,
            options(network).psk,
            renewing[1] if renewing and renewing[0] == peer else "",
        )
        for peer, subnets in parts(network, host).items()
        if keys[peer]
    )


def renewal(inventory: Inventory, network: Network, facts: Facts) -> tuple[str, str] | None:
    """The host that has another key than its device uses, and the key that this device uses.

    Its peers know that key, so that packets pass by it until the device uses the new one. None:
    there is no such host. Of several, which somebody must have damaged, only the first counts.
    """
    device = interface_name(PREFIX, inventory.name, network.name)
    for host in network.hosts:
        host_facts = facts[host].of(WireguardFacts) if host in facts else WireguardFacts()
        new, old = host_facts.keys.get(network.name, ""), host_facts.running.get(device, "")
        if new and old not in ("", new) and old in _known_keys(network, facts, host):
            return host, old
    return None


def _known_keys(network: Network, facts: Facts, host: str) -> frozenset[str]:
    """The keys by which the other hosts know a host."""
    of_hosts = (facts[name].of(WireguardFacts) for name in network.hosts if name in facts)
    return frozenset(each.peers.get(network.name, {}).get(host, "") for each in of_hosts)


def _key(network: Network, facts: Facts, peer: str, known: Mapping[str, str]) -> str:
    """A peer's public key. While the peer does not answer, its key is as this host knows it."""
    if peer in facts:
        return facts[peer].of(WireguardFacts).keys.get(network.name, "")
    return known.get(peer, "")

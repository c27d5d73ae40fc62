"""The WireGuard device of one host, with its key, its daemon and its bridge. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import provision.methods.wireguard.peers as peers
from provision.facts.host import HostFacts
from provision.methods import Facts
from provision.methods._shared import docker_bridge
from provision.methods.wireguard.facts import WireguardFacts
from provision.methods.wireguard.options import endpoint, options
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name
from provision.model.problems import Problem
from provision.resources.base import Ref, Resource
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.service import Service, head
from provision.resources.kinds.wireguard import KERNEL, PREFIX, USERSPACE, Wireguard
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.resources.kinds.wireguard_psk import WireguardPsk
from provision.resources.lib.wireguard_conf import RELAY
from provision.resources.on_hosts import Mark, service_name
from provision.resources.render import render


def name(inventory: Inventory, network: Network) -> str:
    """The device's name, the same on every host."""
    return interface_name(PREFIX, inventory.name, network.name)


def implementation(facts: HostFacts) -> str:
    """The kernel's WireGuard where it has the module, else wireguard-go."""
    return KERNEL if facts.of(WireguardFacts).kernel else USERSPACE


def tools(facts: HostFacts) -> tuple[str, ...]:
    """Commands that the host needs for its implementation."""
    return ("wireguard-go",) if implementation(facts) == USERSPACE else ()


def resources(
    inventory: Inventory, network: Network, facts: Facts, host: str, mtu: int
) -> Iterator[Resource]:
    """The resources of one host."""
    device = name(inventory, network)
    yield from docker_bridge.forwarding(inventory, network, facts[host], (device,))
    yield docker_bridge.bridge(inventory, network, facts[host], mtu=mtu, nics=(device,))
    key = WireguardKey(host, network.name, inventory.name)
    yield key
    needs, preshared = [], _preshared(inventory, network, facts, host)
    yield from preshared
    if implementation(facts[host]) == USERSPACE:
        daemon = _daemon(inventory, network, host)
        yield daemon
        needs.append(daemon.ref)
    yield Wireguard(
        host=host,
        network=network.name,
        device=device,
        implementation=implementation(facts[host]),
        port=options(network).port,
        mtu=mtu,
        public=facts[host].of(WireguardFacts).keys.get(network.name, ""),
        peers=peers.rows(inventory, network, facts, host),
        mark=Mark(inventory.name, network.name),
        relayed=tuple(f"{relayed}{RELAY}{via}" for relayed, via in peers.relays(network).items()),
        needs=tuple(needs),
        # Not `needs`: a device that exists loads a new key.
        made_after=(
            key.ref,
            *(keys.ref for keys in preshared),
            *_peers_before(inventory, network, facts, host),
        ),
    )
    if len(network.hosts) > 1:
        # One route for all peers: the host's own subnet has a longer prefix, on the bridge.
        rows = (row(str(network.cidr), "", device),)
        yield Routes.of(host, network.name, inventory.name, rows, ssh_from=facts[host].ssh_from)
    relay = host in peers.relays(network).values()
    yield from docker_bridge.chains(inventory, network, host, (device,), relay=relay)


def _peers_before(
    inventory: Inventory, network: Network, facts: Facts, host: str
) -> tuple[Ref, ...]:
    """The devices that must know a host's new key before its own device uses it."""
    renewing = peers.renewal(inventory, network, facts)
    if renewing is None or renewing[0] != host:
        return ()
    device = name(inventory, network)
    others = peers.parts(network, host)
    return tuple(Ref(peer, Wireguard.kind, device) for peer in others if peer in facts)


def _preshared(
    inventory: Inventory, network: Network, facts: Facts, host: str
) -> tuple[WireguardPsk, ...]:
    """The file of the host's preshared keys, if the network has any.

    All hosts have keys of one secret: of the first host that has some.
    """
    if not options(network).psk:
        return ()
    known = (
        facts[name].of(WireguardFacts).secrets.get(network.name)
        for name in network.hosts
        if name in facts
    )
    folder = inventory.path.parent / ".provision" / "pki" / inventory.name
    return (
        WireguardPsk(
            host,
            network.name,
            inventory.name,
            next(filter(None, known), ""),
            tuple(peers.parts(network, host)),
            source=folder / f"{network.name}.psk",
        ),
    )


def _daemon(inventory: Inventory, network: Network, host: str) -> Service:
    mark = Mark(inventory.name, network.name)
    return Service(
        host,
        service_name(inventory.name, network.name, "wireguard"),
        mark,
        render(
            "wireguard/wireguard-go.service.j2",
            head=head(mark, (), ()),
            mark=mark,
            device=name(inventory, network),
        ),
        stop_effect="packets between hosts are lost until WireGuard is back",
        restarts_quietly=False,
    )


def problems(
    inventory: Inventory, network: Network, facts: HostFacts, overhead: int
) -> Iterator[Problem]:
    """Yield the reasons why one host cannot carry its part of the network."""
    yield from docker_bridge.problems(inventory, network, facts, overhead=overhead)
    # Only the peers that the host calls at their own address.
    called = [
        peer
        for peer in peers.parts(network, facts.host)
        if endpoint(inventory, network, peer).rpartition(":")[0]
        == str(inventory.hosts[peer].address)
    ]
    yield from docker_bridge.peer_problems(inventory, network, facts, peers=called)
    found = facts.of(WireguardFacts)
    if implementation(facts) == USERSPACE and not found.tun:
        message = "its kernel has neither WireGuard nor /dev/net/tun, which wireguard-go needs"
        yield Problem(facts.host, message, "run `modprobe tun`, or boot a kernel with WireGuard")
    port, own = options(network).port, name(inventory, network)
    for device, used in found.ports.items():
        if used == port and device != own and not _is_ours(inventory, device):
            message = f"{device} has UDP port {port}, which network {network.name} would use"
            yield Problem(facts.host, message, f"write port: {port + 1}")


def _is_ours(inventory: Inventory, device: str) -> bool:
    """True for the device of another network: `validate` has compared their ports."""
    return any(device == name(inventory, network) for network in inventory.networks.values())

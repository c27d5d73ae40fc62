"""The VXLAN device of one host, and what carries its packets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Interface

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.vxlan.options import by_evpn, options, vni
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name, vtep_mac
from provision.resources.base import Ref, Resource
from provision.resources.kinds import vxlan
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.vxlan import Vxlan
from provision.resources.lib.docker_api import docker_name
from provision.resources.lib.vxlan_forwards import ANY, Forward, forward
from provision.resources.on_hosts import Mark

Forwards = Mapping[str, Forward]
"""The FDB entries of a network in their order, by the host that each leads to."""


def forwards(inventory: Inventory, network: Network) -> Forwards:
    """The entries that each host has for the others; none with EVPN, where FRR makes them."""
    if by_evpn(network):
        return {}
    routed = options(network).mode == "routed"
    entries = {}
    for peer, subnet in network.subnets.items():
        address = str(inventory.hosts[peer].address)
        mac = vtep_mac(inventory.name, network.name, peer) if routed else ANY
        neighbour = str(subnet.network_address) if routed else ""
        entries[peer] = forward(mac, address, neighbour)
    return dict(sorted(entries.items(), key=lambda entry: entry[1].order))


def bridged(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, forwards: Forwards
) -> Iterator[Resource]:
    """The device as a port of the Docker network's bridge; with EVPN, FRR fills its table."""
    host = facts.host
    yield from docker_bridge.forwarding(inventory, network, facts)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, single_l2=True)
    master = docker_bridge.bridge_name(inventory, network)
    needs = (docker_bridge.docker_network(network, host),)
    yield _device(inventory, network, host, mtu, forwards, master=master, needs=needs)
    yield from docker_bridge.chains(inventory, network, host, single_l2=True)


def routed(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, forwards: Forwards
) -> Iterator[Resource]:
    """The device of each host has the first address of its subnet, which no container gets.

    flannel addresses its VTEPs in the same way.
    """
    host, device = facts.host, device_name(inventory, network)
    yield from docker_bridge.forwarding(inventory, network, facts, (device,))
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=(device,))
    address = IPv4Interface(network.subnets[host].network_address)
    yield _device(inventory, network, host, mtu, forwards, address=address)
    if len(network.subnets) > 1:
        subnets = (subnet for peer, subnet in network.subnets.items() if peer != host)
        rows = (
            row(str(subnet), str(subnet.network_address), device, "onlink") for subnet in subnets
        )
        yield Routes.of(host, network.name, inventory.name, rows)
    yield from docker_bridge.chains(inventory, network, host, (device,))


def _device(
    inventory: Inventory,
    network: Network,
    host: str,
    mtu: int,
    forwards: Forwards,
    *,
    master: str = "",
    address: IPv4Interface | None = None,
    needs: tuple[Ref, ...] = (),
) -> Vxlan:
    evpn = by_evpn(network)
    return Vxlan(
        host=host,
        device=device_name(inventory, network),
        vni=vni(inventory, network),
        port=options(network).port,
        local=inventory.hosts[host].address,
        mac=vtep_mac(inventory.name, network.name, host),
        mtu=mtu,
        # Without a routed subnet per host, only frames tell which host a container is on.
        learning=options(network).mode == "bridged" and not evpn,
        master=master,
        address=address,
        forwards=tuple([forward for peer, forward in forwards.items() if peer != host]),
        mark=Mark(inventory.name, network.name),
        static=not evpn,
        docker_network=docker_name(needs[0]) if evpn else "",
        needs=needs,
    )


def device_name(inventory: Inventory, network: Network) -> str:
    """The VXLAN device's name, the same on every host."""
    return interface_name(vxlan.PREFIX, inventory.name, network.name)

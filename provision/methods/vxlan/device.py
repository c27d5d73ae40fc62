"""The VXLAN device of one host, and what carries its packets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.vxlan.options import by_evpn, options, vni
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name, vtep_mac
from provision.resources.base import Ref, Resource
from provision.resources.kinds import vxlan
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.vxlan import Forward, Vxlan
from provision.resources.lib.docker_api import docker_name
from provision.resources.on_hosts import Mark


def bridged(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    """The device as a port of the Docker network's bridge; with EVPN, FRR fills its table."""
    host, evpn = facts.host, by_evpn(network)
    yield from docker_bridge.forwarding(inventory, network, facts)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, single_l2=True)
    peers = () if evpn else _peers(network, host)
    floods = [Forward(vxlan.ANY, inventory.hosts[peer].address) for peer in peers]
    master = docker_bridge.bridge_name(inventory, network)
    needs = (docker_bridge.docker_network(network, host),)
    yield _device(inventory, network, host, mtu, floods, master=master, needs=needs)
    yield from docker_bridge.chains(inventory, network, host, single_l2=True)


def routed(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    """The device of each host has the first address of its subnet, which no container gets.

    flannel addresses its VTEPs in the same way.
    """
    host, device = facts.host, device_name(inventory, network)
    yield from docker_bridge.forwarding(inventory, network, facts, (device,))
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=(device,))
    peers = _peers(network, host)
    forwards = [
        Forward(
            vtep_mac(inventory.name, network.name, peer),
            inventory.hosts[peer].address,
            network.subnets[peer].network_address,
        )
        for peer in peers
    ]
    address = IPv4Interface(network.subnets[host].network_address)
    yield _device(inventory, network, host, mtu, forwards, address=address)
    if peers:
        subnets = (network.subnets[peer] for peer in peers)
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
    forwards: list[Forward],
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
        forwards=tuple(sorted(forwards)),
        mark=Mark(inventory.name, network.name),
        static=not evpn,
        docker_network=docker_name(needs[0]) if evpn else "",
        needs=needs,
    )


def _peers(network: Network, host: str) -> tuple[str, ...]:
    return tuple(peer for peer in network.hosts if peer != host)


def device_name(inventory: Inventory, network: Network) -> str:
    """The VXLAN device's name, the same on every host."""
    return interface_name(vxlan.PREFIX, inventory.name, network.name)

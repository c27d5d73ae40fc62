"""Method `vxlan`: a VXLAN device of the kernel on each host, its table from the inventory alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Annotated, Literal

from provision.facts.host import HostFacts
from provision.methods import ClashKey, Facts, Method
from provision.methods._shared import docker_bridge
from provision.methods._shared.clashes import vxlan_id, vxlan_port
from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.fields.overlays import VXLAN_OVERHEAD, VXLAN_PORT, UdpPort, Vni
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import default_vni, interface_name, vtep_mac
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource
from provision.resources.kinds import vxlan
from provision.resources.kinds.routes import Routes, row
from provision.resources.kinds.vxlan import Forward, Vxlan
from provision.resources.on_hosts import Mark

if TYPE_CHECKING:
    from provision.model.documents import Decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanOptions(BridgeOptions):
    """The keys of a `vxlan` network, besides those of every network."""

    mode: Annotated[
        Literal["bridged", "routed"],
        Help("bridged: one layer 2 over all hosts; routed: a subnet for each host"),
    ] = "bridged"
    vni: Annotated[Vni | None, Help("VXLAN network identifier; default: made of the names")] = None
    port: Annotated[UdpPort, Help("UDP port of the tunnels")] = VXLAN_PORT


class VxlanMethod(Method):
    """VXLAN devices of the kernel with a static forwarding table."""

    name = "vxlan"
    Options = VxlanOptions

    def desired(self, inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
        """Yield a bridge, a VXLAN device and firewall rules for each host; `routed`: routes."""
        mtu = self.mtu(inventory, network, facts)
        for host in network.hosts:
            if host in facts:
                resources = _bridged if self.single_l2(network) else _routed
                yield from resources(inventory, network, facts[host], mtu)

    def clash_keys(self, name: str, decoded: Decoded) -> Iterator[ClashKey]:
        """Yield what no other network of the same hosts may use."""
        yield from super().clash_keys(name, decoded)
        options = decoded.options[name]
        assert isinstance(options, VxlanOptions)
        yield vxlan_port(options.port, "kernel")
        yield vxlan_id(decoded.name, name, options.port, options.vni)

    def overhead(self, network: Network) -> int:
        """Bytes by which a packet grows on its way to another host."""
        return VXLAN_OVERHEAD

    def tunnel(self, network: Network) -> Tunnel:
        """VXLAN, for every packet between hosts."""
        return Tunnel("vxlan", _options(network).port)

    def tunnel_links(self, inventory: Inventory, network: Network) -> tuple[str, ...]:
        """The VXLAN device."""
        return (device_name(inventory, network),)

    def single_l2(self, network: Network) -> bool:
        """True if all containers are on one layer 2."""
        return _options(network).mode == "bridged"


def _options(network: Network) -> VxlanOptions:
    assert isinstance(network.options, VxlanOptions)
    return network.options


def _bridged(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    host = facts.host
    yield from docker_bridge.forwarding(inventory, network, facts)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, single_l2=True)
    floods = [Forward(vxlan.ANY, inventory.hosts[peer].address) for peer in _peers(network, host)]
    master = docker_bridge.bridge_name(inventory, network)
    needs = (docker_bridge.docker_network(network, host),)
    yield _device(inventory, network, host, mtu, floods, master=master, needs=needs)
    yield from docker_bridge.chains(inventory, network, host, single_l2=True)


def _routed(
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
    options = _options(network)
    return Vxlan(
        host=host,
        device=device_name(inventory, network),
        vni=options.vni or default_vni(inventory.name, network.name),
        port=options.port,
        local=inventory.hosts[host].address,
        mac=vtep_mac(inventory.name, network.name, host),
        mtu=mtu,
        # Without a routed subnet per host, only frames tell which host a container is on.
        learning=options.mode == "bridged",
        master=master,
        address=address,
        forwards=tuple(sorted(forwards)),
        mark=Mark(inventory.name, network.name),
        needs=needs,
    )


def _peers(network: Network, host: str) -> tuple[str, ...]:
    return tuple(peer for peer in network.hosts if peer != host)


def device_name(inventory: Inventory, network: Network) -> str:
    """The VXLAN device's name, the same on every host."""
    return interface_name(vxlan.PREFIX, inventory.name, network.name)

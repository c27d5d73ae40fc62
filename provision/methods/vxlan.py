"""Method `vxlan`: a VXLAN device of the kernel on each host, its table from the inventory alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import ClassVar, Literal

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.model.errors import UnfitError
from provision.model.fields.overlays import VXLAN_OVERHEAD, VXLAN_PORT, UdpPort, Vni
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name, mac_address, network_id
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource
from provision.resources.kinds import vxlan
from provision.resources.kinds.route import Route
from provision.resources.kinds.sysctl import Sysctl
from provision.resources.kinds.vxlan import Forward, Vxlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What YAML may say of a `vxlan` network, beside the keys of every network.

    mode: `bridged` is one layer 2 over all hosts; `routed` gives each host's part a subnet of its
    own. vni: None derives one from the names.
    """

    method: ClassVar[str] = "vxlan"
    mode: Literal["bridged", "routed"] = "bridged"
    vni: Vni | None = None
    port: UdpPort = VXLAN_PORT
    bridge: Literal["docker0"] | None = None


Facts = Mapping[str, HostFacts]


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    size = mtu(inventory, network, facts)
    for host in network.hosts:
        if host in facts:
            yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
            make = _bridged if flat(network) else _routed
            yield from make(inventory, network, facts[host], size)


def _bridged(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    host = facts.host
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, flat=True)
    everybody = [
        Forward(vxlan.ANY, inventory.hosts[peer].address) for peer in _peers(network, host)
    ]
    master = docker_bridge.bridge_name(inventory, network)
    needs = (attachment(network, host),)
    yield _device(inventory, network, host, mtu, everybody, master=master, needs=needs)
    yield from docker_bridge.chains(inventory, network, host)


def _routed(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int
) -> Iterator[Resource]:
    """Each host's end has its part's own address, which no container gets, as flannel does."""
    host, device = facts.host, device_name(inventory, network)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=(device,))
    peers = _peers(network, host)
    forwards = [
        Forward(
            mac_address(inventory.name, network.name, peer),
            inventory.hosts[peer].address,
            network.subnets[peer].network_address,
        )
        for peer in peers
    ]
    own = IPv4Interface(network.subnets[host].network_address)
    yield _device(inventory, network, host, mtu, forwards, address=own)
    for peer in peers:
        part = network.subnets[peer]
        via = part.network_address
        yield Route(host, part, via, device, inventory.name, flags=("onlink",))
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
    options = network.options
    assert isinstance(options, Options)
    return Vxlan(
        host=host,
        device=device_name(inventory, network),
        vni=options.vni or network_id(inventory.name, network.name),
        port=options.port,
        local=inventory.hosts[host].address,
        mac=mac_address(inventory.name, network.name, host),
        mtu=mtu,
        learning=flat(network),
        master=master,
        address=address,
        forwards=tuple(sorted(forwards)),
        mark=f"{inventory.name}/{network.name}",
        needs=needs,
    )


def _peers(network: Network, host: str) -> tuple[str, ...]:
    return tuple(peer for peer in network.hosts if peer != host)


def device_name(inventory: Inventory, network: Network) -> str:
    """The VXLAN device's name, the same on every host."""
    return interface_name(vxlan.PREFIX, inventory.name, network.name)


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others, wrapped."""
    return docker_bridge.mtu(inventory, network, facts, overhead=VXLAN_OVERHEAD)


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    for host in network.hosts:
        if host in facts:
            seen = facts[host]
            yield from docker_bridge.findings(inventory, network, seen, overhead=VXLAN_OVERHEAD)
            yield from docker_bridge.peer_findings(inventory, network, seen)


def attachment(network: Network, host: str) -> Ref:
    """What a container of this network is put on."""
    return docker_bridge.attachment(network, host)


def tunnel(network: Network) -> Tunnel:
    """Every packet between hosts is inside VXLAN."""
    options = network.options
    assert isinstance(options, Options)
    return Tunnel("vxlan", options.port)


def flat(network: Network) -> bool:
    """Whether all containers are on one layer 2."""
    options = network.options
    assert isinstance(options, Options)
    return options.mode == "bridged"

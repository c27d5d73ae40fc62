"""A network on Open vSwitch: one flat layer 2 of tunnels between all pairs of hosts. Pure.

What its methods add is the kind of tunnel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.pipework import nic as lan
from provision.methods.pipework import pool
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.model.names import interface_name
from provision.resources.base import Ref, Resource
from provision.resources.kinds import ovs_uplink, ovs_veth
from provision.resources.kinds.ovs_bridge import OvsBridge
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.ovs_tunnel import OvsTunnel
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.ovs_veth import OvsVeth
from provision.resources.kinds.sysctl import Sysctl

Facts = Mapping[str, HostFacts]


@dataclass(frozen=True, slots=True)
class Fabric:
    """How the bridges of a network are joined: tunnels of `type`, bytes each packet grows by,
    options of every tunnel beside its ends, whether RSTP breaks loops, and the datapath's word."""

    type: str
    overhead: int
    options: tuple[tuple[str, str], ...]
    rstp: bool
    datapath: str


def tools(network: Network, host: str) -> tuple[str, ...]:  # noqa: ARG001
    """Commands of a host that these methods need beside those of every method."""
    return ("ovs-vsctl", "ethtool")


def desired(
    inventory: Inventory, network: Network, facts: Facts, fabric: Fabric
) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    size = mtu(inventory, network, facts, fabric)
    for host in network.hosts:
        if host in facts:
            yield from _host(inventory, network, facts[host], size, fabric)


def _host(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, fabric: Fabric
) -> Iterator[Resource]:
    host, bridge = facts.host, interface_name("ov-", inventory.name, network.name)
    mark, datapath = f"{inventory.name}/{network.name}", chosen(facts, fabric)
    yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    yield OvsDaemon(host, inventory.name)
    insisted = fabric.datapath == "netdev"
    moved = list(_underlays(inventory, network, facts, insisted)) if datapath == "netdev" else []
    yield from moved
    needs = tuple(nic.ref for nic in moved)
    yield OvsBridge(host, bridge, datapath, fabric.rstp, mark, needs=needs)
    for peer in network.hosts:
        if peer != host:
            yield _tunnel(inventory, network, host, peer, bridge, fabric)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, flat=True)
    yield OvsVeth(
        host=host,
        outer=interface_name("oo-", inventory.name, network.name),
        bridge=bridge,
        inner=interface_name(ovs_veth.PREFIX, inventory.name, network.name),
        master=docker_bridge.bridge_name(inventory, network),
        mtu=mtu,
        mark=mark,
        needs=(docker_bridge.attachment(network, host),),
    )
    yield from docker_bridge.chains(inventory, network, host)


def chosen(facts: HostFacts, fabric: Fabric) -> str:
    """The datapath on one host: with `auto`, the kernel's where it has it."""
    if fabric.datapath != "auto":
        return fabric.datapath
    return "system" if facts.kernel_datapath else "netdev"


def _underlays(
    inventory: Inventory, network: Network, facts: HostFacts, insisted: bool
) -> Iterator[OvsUplink]:
    for dev in docker_bridge.nics(inventory, network, facts):
        nic = facts.carrier(dev)
        bridge = interface_name_of(nic)
        where = (facts.host, nic, bridge, bridge, inventory.name)
        yield OvsUplink(*where, ssh=_ssh(facts, nic), insisted=insisted)


def _ssh(facts: HostFacts, nic: str) -> bool:
    """Whether the login may have come by this NIC: it did unless another has its range."""
    ranges = [
        (facts.carrier(link.name), held.network)
        for link in facts.links.values()
        for held in link.addresses
    ]
    holders = {
        name for name, part in ranges if facts.ssh_from is not None and facts.ssh_from in part
    }
    return not holders or nic in holders


def interface_name_of(nic: str) -> str:
    """The bridge that takes a NIC's place; inventories share it, so no name of theirs is in it."""
    whole = ovs_uplink.PREFIX + nic
    return whole if len(whole) <= 15 else interface_name(ovs_uplink.PREFIX, "", nic)


def _tunnel(
    inventory: Inventory, network: Network, host: str, peer: str, bridge: str, fabric: Fabric
) -> OvsTunnel:
    ends = {
        "local_ip": str(inventory.hosts[host].address),
        "remote_ip": str(inventory.hosts[peer].address),
    }
    return OvsTunnel(
        host,
        interface_name(f"{fabric.type[:3]}-", f"{inventory.name}/{network.name}", peer),
        bridge,
        fabric.type,
        tuple(sorted({**ends, **dict(fabric.options)}.items())),
        # A mesh is full of loops. What came in by one tunnel goes out by no other, as every host
        # has one to every other; with RSTP the mesh becomes a tree instead.
        protected=not fabric.rstp,
        mark=f"{inventory.name}/{network.name}",
    )


def mtu(inventory: Inventory, network: Network, facts: Facts, fabric: Fabric) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others, wrapped."""
    return docker_bridge.mtu(inventory, network, facts, overhead=fabric.overhead)


def findings(
    inventory: Inventory, network: Network, facts: Facts, fabric: Fabric
) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    for host in network.hosts:
        if host in facts:
            seen = facts[host]
            yield from docker_bridge.findings(inventory, network, seen, overhead=fabric.overhead)
            yield from docker_bridge.peer_findings(inventory, network, seen)
            if chosen(seen, fabric) == "netdev":
                yield from _bridged(inventory, network, seen)
            if fabric.datapath == "system" and not seen.kernel_datapath:
                what = "its kernel has no openvswitch module, which datapath: system needs"
                yield UnfitError(host, what, "write datapath: auto or netdev")


def _bridged(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[UnfitError]:
    """A NIC is a port of one bridge: no network of method pipework of this file has it, too."""
    nics = {facts.carrier(dev) for dev in docker_bridge.nics(inventory, network, facts)}
    for other in inventory.networks.values():
        if other.method == pool.METHOD and facts.host in other.hosts:
            both = {lan.nic(inventory, other, facts), lan.options(other).bridge} & nics
            for nic in sorted(both):
                what = f"networks {other.name} and {network.name} would both make {nic} their port"
                yield UnfitError(facts.host, what, "leave its host out of one of them")


def attachment(network: Network, host: str) -> Ref:
    """What a container of this network is put on."""
    return docker_bridge.attachment(network, host)

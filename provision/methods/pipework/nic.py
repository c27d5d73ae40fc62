"""A host's place on the LAN of a `pipework` network: its NIC, what that was, who is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.facts.host import HostFacts
from provision.facts.nics import Nic
from provision.methods._shared.lan_facts import LanFacts
from provision.methods._shared.ovs_facts import OvsFacts
from provision.methods.pipework.options import PipeworkOptions
from provision.model.inventory import Inventory, Network
from provision.model.names import hashed_mac, interface_name
from provision.resources.base import Ref
from provision.resources.lib.nic_records import HostVeth, OriginalNic


def options(network: Network) -> PipeworkOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, PipeworkOptions)
    return network.options


def bridge_ref(network: Network, host: str) -> Ref:
    """The resource that is the bridge."""
    kind = "lan_bridge_ovs" if options(network).kind == "ovs" else "lan_bridge"
    return Ref(host, kind, options(network).bridge)


def first(inventory: Inventory, network: Network, facts: HostFacts) -> OriginalNic | None:
    """What the NIC was: as recorded, or as it is now; None where there is no such NIC."""
    link = uplink(inventory, network, facts)
    if link is None:
        return None
    veth = _host_veth(inventory, network, facts.host)
    recorded = facts.bridged_nics.get(options(network).bridge)
    if recorded is not None and recorded.nic == link.name:
        return replace(
            recorded, host_veth=veth, ovs_datapath=_ovs_datapath(network, facts, recorded)
        )
    return OriginalNic(
        link.name,
        link.mac,
        link.mtu,
        link.network,
        link.addresses,
        link.routes,
        tuple(route for route in facts.default_routes if route.dev != link.name),
        facts.of(LanFacts).dns,
        veth,
        _ovs_datapath(network, facts, None),
        ssh := facts.ssh_to is not None
        and facts.link_with(facts.ssh_to) == facts.links.get(link.name),
        _peer(inventory, network, facts, ssh=ssh),
    )


def _peer(inventory: Inventory, network: Network, facts: HostFacts, *, ssh: bool) -> str:
    """Somebody on the LAN who answers: who logs in from there, a host of ours, or the router."""
    others = [inventory.hosts[host].address for host in network.hosts if host != facts.host]
    if ssh and facts.ssh_from is not None:
        return str(facts.ssh_from)
    return str(next(iter(others), options(network).gateway or ""))


def _ovs_datapath(network: Network, facts: HostFacts, recorded: OriginalNic | None) -> str:
    """The datapath of a bridge of Open vSwitch; that of one that is there stays."""
    if options(network).kind == "linux":
        return ""
    auto = "system" if facts.of(OvsFacts).kernel_datapath else "netdev"
    return (recorded.ovs_datapath if recorded else "") or auto


def _host_veth(inventory: Inventory, network: Network, host: str) -> HostVeth | None:
    """The host's veth; None where the bridge itself holds the host's addresses."""
    if options(network).host_port == "bridge":
        return None
    name = interface_name("host-", inventory.name, network.name)
    peer = interface_name("port-", inventory.name, network.name)
    return HostVeth(name, peer, hashed_mac(inventory.name, network.name, host))


def lost_settings(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    status: None,
) -> str:
    """What a host had before its NIC became a port of the bridge, and has no more."""
    bridge = options(network).bridge
    original = facts.bridged_nics.get(bridge)
    return "; ".join(_lost(bridge, original, facts)) if original else ""


def _lost(bridge: str, original: OriginalNic, facts: HostFacts) -> Iterator[str]:
    current_dns = facts.of(LanFacts).dns
    for line in original.dns:
        if line not in current_dns:
            yield f"{line} is missing from /etc/resolv.conf"
    holder = original.address_holder(bridge)
    current = facts.nics.get(holder, Nic(holder))
    lacking = {a.cidr for a in original.addresses} - {a.cidr for a in current.addresses}
    lacking |= {str(route) for route in set(original.routes) - set(current.routes)}
    yield from (f"{text} is not on {holder}" for text in sorted(lacking))
    defaults = set(original.defaults) - set(facts.default_routes)
    yield from (f"default route {text} is gone" for text in sorted(map(str, defaults)))


def nic(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The NIC's name: as said, as moved already, or the link that holds the host's address."""
    said = options(network).nic or inventory.hosts[facts.host].nic
    if said:
        return said
    moved = facts.bridged_nics.get(options(network).bridge)
    link = facts.link_with(inventory.hosts[facts.host].address)
    return moved.nic if moved else link.name if link else ""


def uplink(inventory: Inventory, network: Network, facts: HostFacts) -> Nic | None:
    """The NIC as it is now."""
    return facts.nics.get(nic(inventory, network, facts))


def vlans(inventory: Inventory, network: Network) -> tuple[int, ...]:
    """Every VLAN that an interface on this network asks for: each host's NIC carries them."""
    every = {
        one.vlan
        for container in inventory.containers.values()
        for one in container.interfaces
        if one.network == network.name and one.vlan
    }
    return tuple(sorted(every))

"""The NIC of a host that becomes a port of a `pipework` bridge, and its original settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.facts.host import HostFacts
from provision.facts.nics import Nic
from provision.methods._shared.lan_facts import LanFacts
from provision.methods._shared.ovs_facts import OvsFacts
from provision.methods.pipework.manager_facts import without_bridge
from provision.methods.pipework.options import PipeworkOptions
from provision.model.inventory import Inventory, Network
from provision.model.names import hashed_mac, interface_name
from provision.resources.base import Ref
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import ManagerFiles, NicManager
from provision.resources.lib.nic_records import NETWORKD, HostVeth, OriginalNic
from provision.resources.on_hosts import Mark


def options(network: Network) -> PipeworkOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, PipeworkOptions)
    return network.options


def bridge_ref(network: Network, host: str) -> Ref:
    """The bridge."""
    kind = "lan_bridge_ovs" if options(network).kind == "ovs" else "lan_bridge"
    return Ref(host, kind, options(network).bridge)


def original_nic(inventory: Inventory, network: Network, facts: HostFacts) -> OriginalNic | None:
    """The NIC before it became a port: as recorded, or as it is now; None without such a NIC."""
    link = nic(inventory, network, facts)
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
        _settings(inventory, network, facts, link),
        link.addresses,
        link.routes,
        tuple(route for route in facts.default_routes if route.dev != link.name),
        facts.of(LanFacts).dns,
        veth,
        _ovs_datapath(network, facts, None),
        ssh := facts.ssh_to is not None
        and facts.link_with(facts.ssh_to) == facts.links.get(link.name),
        _test_address(inventory, network, facts, ssh=ssh),
        link.managers[0] if len(link.managers) == 1 else NETWORKD,
        link.lease,
    )


def _settings(inventory: Inventory, network: Network, facts: HostFacts, link: Nic) -> str:
    """The settings of a NIC in the language of its manager; its own text for systemd-networkd."""
    manager = MANAGERS.get(next(iter(link.managers), ""))
    if manager is None or manager.name == NETWORKD:
        return link.network
    files = manager_files(inventory, network, facts, manager)
    try:
        return manager.describe(link.name, files)
    except ValueError:  # `NicManager.reasons` names it
        return ""


def manager_files(
    inventory: Inventory, network: Network, facts: HostFacts, manager: NicManager
) -> ManagerFiles:
    """The manager's files, as they would be without the bridge of this network."""
    mark = Mark(inventory.name, options(network).bridge)
    return without_bridge(facts.of(ManagerFiles), manager, mark)


def _test_address(inventory: Inventory, network: Network, facts: HostFacts, *, ssh: bool) -> str:
    """An address that answers while the NIC works: the controller's, a peer's, or the router's."""
    peers = [inventory.hosts[host].address for host in network.hosts if host != facts.host]
    if ssh and facts.ssh_from is not None:
        return str(facts.ssh_from)
    return str(next(iter(peers), options(network).gateway or ""))


def _ovs_datapath(network: Network, facts: HostFacts, recorded: OriginalNic | None) -> str:
    """The datapath of a bridge of Open vSwitch; an existing bridge keeps its own."""
    if options(network).kind == "linux":
        return ""
    auto = "system" if facts.of(OvsFacts).kernel_datapath else "netdev"
    return (recorded.ovs_datapath if recorded else "") or auto


def _host_veth(inventory: Inventory, network: Network, host: str) -> HostVeth | None:
    """The veth pair of the host; None if the bridge itself holds the host's addresses."""
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
    """The settings that the host lost since its NIC became a port of the bridge."""
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
    held = {address.cidr for address in current.addresses}
    lacking = original.lacking(held, leased=current.lease is not None)
    lacking |= {str(route) for route in set(original.routes) - set(current.routes)}
    yield from (f"{text} is not on {holder}" for text in sorted(lacking))
    defaults = set(original.defaults) - set(facts.default_routes)
    yield from (f"default route {text} is gone" for text in sorted(map(str, defaults)))


def nic_name(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The NIC's name: from the inventory, from the record, or by the host's address."""
    configured = options(network).nic or inventory.hosts[facts.host].nic
    if configured:
        return configured
    original = facts.bridged_nics.get(options(network).bridge)
    link = facts.link_with(inventory.hosts[facts.host].address)
    return original.nic if original else link.name if link else ""


def nic(inventory: Inventory, network: Network, facts: HostFacts) -> Nic | None:
    """The NIC as it is now; None if the host has no such NIC."""
    return facts.nics.get(nic_name(inventory, network, facts))


def vlans(inventory: Inventory, network: Network) -> tuple[int, ...]:
    """The VLANs of all interfaces on this network; the NIC of each host carries all of them."""
    tags = {
        interface.vlan
        for container in inventory.containers.values()
        for interface in container.interfaces
        if interface.network == network.name and interface.vlan
    }
    return tuple(sorted(tags))

"""Reasons why a NIC cannot become a port of a bridge, found before the first change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import provision.methods.pipework.nic as nic
from provision.facts.host import HostFacts
from provision.facts.nics import Nic
from provision.methods._shared import link_problems
from provision.methods._shared.lan_facts import LanFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.resources.lib.managers import MANAGERS
from provision.resources.lib.managers.base import NicManager
from provision.resources.lib.nic_records import NETWORKD

Reason = tuple[str, str]
"""A message and its hint."""


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield everything that forbids to make one host's NIC a port."""
    options, host = nic.options(network), facts.host
    name = nic.nic_name(inventory, network, facts)
    link = facts.nics.get(name)
    if link is None:
        yield _missing(inventory, network, facts, name)
        return
    yield from link_problems.nic_problems(network, facts, name)
    tagged = options.kind == "linux" and nic.vlans(inventory, network)
    if tagged and not facts.of(LanFacts).filters_vlans:
        message = f"its kernel has no VLAN filtering on bridges, which network {network.name} needs"
        yield Problem(host, message, "write kind: ovs, or leave out vlan")
    original = facts.bridged_nics.get(options.bridge)
    if original is not None and original.nic == name:
        return  # this inventory has made it a port already
    for message, hint in (
        *_link_reasons(link),
        *_manager_reasons(inventory, network, facts, link),
        *_address_reasons(inventory, network, facts, link),
        *_option_reasons(network, facts, link),
        *_lan_reasons(network, facts),
    ):
        yield Problem(host, message, hint)


def _missing(inventory: Inventory, network: Network, facts: HostFacts, name: str) -> Problem:
    names = ", ".join(sorted(link for link in facts.nics if link != "lo"))
    if name:
        message = f"it has no NIC {name} for network {network.name}"
        return Problem(facts.host, message, f"its interfaces are {names}")
    address = inventory.hosts[facts.host].address
    message = f"none of its interfaces has its address {address}, so network {network.name}"
    hint = f"write nic: one of {names}"
    return Problem(facts.host, *link_problems.with_cause(facts, f"{message} has no NIC", hint))


def _link_reasons(link: Nic) -> Iterator[Reason]:
    if link.master:
        message = f"{link.name} is already a port of {link.master}"
        yield message, f"remove it from {link.master}, or name another nic"
    if link.bridge:
        yield f"{link.name} is a bridge, not a NIC", "name the NIC that is its port"
    elif link.wireless:
        message = f"{link.name} is wireless: an access point accepts frames of one MAC address only"
        yield message, "use method routes, or a wired NIC"
    elif not link.ether:
        yield f"{link.name} is not an Ethernet interface", "name an Ethernet NIC"


def _manager_reasons(
    inventory: Inventory, network: Network, facts: HostFacts, link: Nic
) -> Iterator[Reason]:
    known = ", ".join(MANAGERS)
    hint = f"configure {link.name} by one of {known}, or name another"
    if len(link.managers) > 1:
        message = f"{link.name} is managed by {' and '.join(link.managers)}"
        yield message, "let only one of them manage it"
    elif not link.managers:
        message = f"{link.name} has no network manager, so its bridge would be lost at a reboot"
        yield message, hint
    elif link.managers[0] not in MANAGERS:
        yield f"{link.name} is managed by {link.managers[0]}", hint
    elif link.managers[0] == NETWORKD and not link.network:
        message = f"the file by which networkd configured {link.name} is missing"
        yield message, f"run networkctl reload and networkctl reconfigure {link.name}"
    else:
        manager = MANAGERS[link.managers[0]]
        yield from _unserved(inventory, network, link, manager)
        files = nic.manager_files(inventory, network, facts, manager)
        yield from manager.reasons(link.name, files)
        yield from client_reasons(link, manager, manager.uses_dhcp(link.name, files))
    yield from _lease_reasons(link)
    yield from _unleased(network, link)


def _unleased(network: Network, link: Nic) -> Iterator[Reason]:
    """Yield the keys of a network with which the host does not get the lease of the NIC."""
    # A veth has another MAC; Open vSwitch on trixie got no answer of the server for its bridge.
    options = nic.options(network)
    chosen = {"host_port: veth": options.host_port == "veth", "kind: ovs": options.kind == "ovs"}
    for key in (key for key, is_chosen in chosen.items() if is_chosen and link.dynamic):
        message = f"{link.name} has its address by DHCP, which a network with {key} does not get"
        yield message, f"leave out {key}, or give the host a fixed address"


def _lease_reasons(link: Nic) -> Iterator[Reason]:
    manager = MANAGERS.get(link.managers[0]) if len(link.managers) == 1 else None
    if link.dynamic and not (manager and manager.dhcp_client):
        message = f"{link.name} has its address by DHCP; the bridge would request another lease"
        yield message, "give the host a fixed address"
    elif link.dynamic and link.lease is None:
        message = f"{link.name} has its address by DHCP without an end of the lease"
        yield f"{message}, by which a lease of the bridge is known", "give the host a fixed address"


def client_reasons(link: Nic, manager: NicManager, uses_dhcp: bool) -> Iterator[Reason]:
    """Yield the reason if not the manager's own DHCP client has the lease of the NIC."""
    if not manager.dhcp_client:
        return
    # The file of systemd-networkd may ask for leases in several ways.
    asks = uses_dhcp or manager.name == NETWORKD
    has_lease = asks and manager.dhcp_client in link.dhcp_clients
    if uses_dhcp and not link.dynamic:
        message = f"{link.name} has no lease, though {manager.name} asks for one"
        yield message, "start the DHCP server, or give the host a fixed address"
    elif link.dynamic and not has_lease:
        message = f"{link.name} has its address from a DHCP client that is not {manager.name}'s"
        yield message, "end it, or give the host a fixed address"


def _unserved(
    inventory: Inventory, network: Network, link: Nic, manager: NicManager
) -> Iterator[Reason]:
    """Yield the keys of a network that its files for this manager could not have."""
    options = nic.options(network)
    hint = f"configure {link.name} by systemd-networkd, or remove it"
    if options.kind == "ovs" and not manager.serves_ovs:
        yield f"kind: ovs is not supported with {manager.name}", hint
    if options.host_port == "veth" and not manager.serves_veth:
        yield f"host_port: veth is not supported with {manager.name}", hint
    if options.kind == "linux" and nic.vlans(inventory, network) and not manager.serves_vlans:
        yield f"vlan of interfaces is not supported with {manager.name}", hint


def _address_reasons(
    inventory: Inventory, network: Network, facts: HostFacts, link: Nic
) -> Iterator[Reason]:
    address = inventory.hosts[facts.host].address
    matches = [held for held in link.addresses if held.local == str(address)]
    if not matches:
        holder = facts.link_with(address)
        state = f"is on {holder.name}" if holder else "is on no interface"
        message = f"its address {address} {state}, not on {link.name}"
        yield message, f"write hosts.{facts.host}.nic, or the address that {link.name} has"
    elif all(held.prefixlen != network.cidr.prefixlen for held in matches):
        message = f"{link.name} is in {matches[0].cidr}, not in {network.cidr}"
        yield message, "write the LAN's range as cidr"


def _option_reasons(network: Network, facts: HostFacts, link: Nic) -> Iterator[Reason]:
    options, addresses = nic.options(network), [held.local for held in link.addresses]
    if network.mtu is not None and network.mtu > link.mtu:
        message = f"network {network.name} has mtu {network.mtu}, but that of {link.name} is"
        yield f"{message} {link.mtu}", f"write mtu: {link.mtu} or less, or leave it out"
    if options.stp and facts.ssh_to is not None and str(facts.ssh_to) in addresses:
        # A port forwards nothing during twice the forward delay of 15 s.
        message = f"stp: true stops {link.name} for 30 s, and the SSH connection uses it"
        yield message, "leave stp out, or name another NIC"
    if options.gateway is not None and str(options.gateway) in addresses:
        message = f"gateway {options.gateway} is its own address"
        yield message, "write the LAN's router, or leave it out"


def _lan_reasons(network: Network, facts: HostFacts) -> Iterator[Reason]:
    lan, pool = facts.of(LanFacts), nic.options(network).pool
    for address, answer in lan.addresses_in_use.items():
        if IPv4Address(address) in network.cidr:
            in_pool = pool is not None and IPv4Address(address) in pool
            if in_pool and IPv4Address(address) not in network.subnets[facts.host]:
                continue  # in the part of another host
            subject = f"pool {pool} holds {address}, which" if in_pool else address
            yield (
                f"{subject} is in use on the LAN: {answer}",
                "choose addresses that are not in use",
            )
    for address, answer in lan.router_arp_errors.items():
        if IPv4Address(address) in network.cidr:
            yield f"gateway {address} cannot be used: {answer}", "write the LAN's router"

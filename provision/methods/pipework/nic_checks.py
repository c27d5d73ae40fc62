"""Why a host's NIC cannot become a bridge's port: found before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import provision.methods.pipework.nic as nic
from provision.facts.host import HostFacts
from provision.facts.nics import Nic
from provision.methods._shared.lan_facts import LanFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem

MANAGER = "systemd-networkd"
_KEPT_OUT = (
    "provision changes a NIC only through systemd-networkd: give {} to that, or name another"
)


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Everything that is wrong with one host's NIC."""
    host, bridge = facts.host, nic.options(network).bridge
    name = nic.nic(inventory, network, facts)
    link = facts.nics.get(name)
    if link is None:
        yield _missing(inventory, network, facts, name)
        return
    if (
        nic.vlans(inventory, network)
        and nic.options(network).kind == "linux"
        and not facts.of(LanFacts).filters_vlans
    ):
        message = f"its kernel keeps no VLANs apart on bridges, as network {network.name} asks"
        yield Problem(host, message, "write kind: ovs, or leave out vlan")
    moved = facts.bridged_nics.get(bridge)
    if moved is not None and moved.nic == name:
        return  # it is a port of ours already
    for message, hint in (
        *_shape(link),
        *_owners(link),
        *_place(inventory, network, facts, link),
        *_used(network, facts),
    ):
        yield Problem(host, message, hint)


def _missing(inventory: Inventory, network: Network, facts: HostFacts, name: str) -> Problem:
    has = ", ".join(sorted(one for one in facts.nics if one != "lo"))
    if name:
        hint = f"its links are {has}"
        return Problem(facts.host, f"it has no NIC {name} for network {network.name}", hint)
    address = inventory.hosts[facts.host].address
    message = f"its address {address} is on none of its links, so network {network.name} has no NIC"
    return Problem(facts.host, message, f"write nic: one of {has}")


def _used(network: Network, facts: HostFacts) -> Iterator[tuple[str, str]]:
    pool = nic.options(network).pool
    for address, said in facts.of(LanFacts).addresses_in_use.items():
        if IPv4Address(address) in network.cidr:
            held = pool is not None and IPv4Address(address) in pool
            what = f"pool {pool} holds {address}, which" if held else f"{address}"
            message = f"{what} is in use on the LAN: {said}"
            yield message, "choose addresses that nobody has"
    for address, said in facts.of(LanFacts).router_arp_errors.items():
        if IPv4Address(address) in network.cidr:
            yield f"gateway {address} cannot be used: {said}", "write the LAN's router"


def _shape(link: Nic) -> Iterator[tuple[str, str]]:
    if link.master:
        message = f"{link.name} is a port of {link.master} already"
        yield message, f"take it out of {link.master}, or name another nic"
    if link.bridge:
        yield f"{link.name} is a bridge, and no NIC", "name the NIC that is its port"
    elif link.wireless:
        message = f"{link.name} is wireless: its access point takes frames of one MAC only"
        yield message, "use method routes, or a wired NIC"
    elif not link.ether:
        yield f"{link.name} is no Ethernet link and cannot be a port", "name an Ethernet NIC"


def _owners(link: Nic) -> Iterator[tuple[str, str]]:
    hint = _KEPT_OUT.format(link.name)
    if len(link.managers) > 1:
        yield f"{link.name} belongs to {' and '.join(link.managers)} at once", "leave it to one"
    elif not link.managers:
        yield f"{link.name} belongs to no network manager: a reboot would lose its bridge", hint
    elif link.managers[0] != MANAGER:
        yield f"{link.name} belongs to {link.managers[0]}", hint
    elif not link.network:
        message = f"the file by which networkd has set up {link.name} is gone"
        yield message, f"run networkctl reload and networkctl reconfigure {link.name}"
    if link.dynamic:
        message = f"{link.name} has its address by DHCP, which the bridge would ask for anew"
        yield message, "give the host a fixed address"


def _place(
    inventory: Inventory, network: Network, facts: HostFacts, link: Nic
) -> Iterator[tuple[str, str]]:
    addresses = [held.local for held in link.addresses]
    address, asked = inventory.hosts[facts.host].address, nic.options(network)
    ranges = [held for held in link.addresses if held.local == str(address)]
    if not ranges:
        where = facts.link_with(address)
        on = f"is on {where.name}" if where else "is nowhere"
        message = f"its address {address} {on}, not on {link.name}"
        yield message, f"write hosts.{facts.host}.nic, or the address that {link.name} has"
    elif all(held.prefixlen != network.cidr.prefixlen for held in ranges):
        message = f"{link.name} is in {ranges[0].cidr}, not in {network.cidr}"
        yield message, "write the LAN's range as cidr"
    if network.mtu is not None and network.mtu > link.mtu:
        message = (
            f"network {network.name} asks for an mtu of {network.mtu}, and {link.name} carries"
        )
        yield f"{message} {link.mtu}", f"write mtu: {link.mtu} or less, or leave it out"
    if asked.stp and facts.ssh_to is not None and str(facts.ssh_to) in addresses:
        message = f"stp: true keeps {link.name} silent for 30 s, and SSH comes in by it"
        yield message, "leave stp out, or bridge another NIC"
    if asked.gateway is not None and f"{asked.gateway}" in addresses:
        yield (
            f"gateway {asked.gateway} is its own address",
            "write the LAN's router, or leave it out",
        )

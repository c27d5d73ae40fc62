"""The parent of a host's macvlans: its NIC on the LAN, and why Docker cannot use it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

from provision import methods
from provision.facts.host import HostFacts
from provision.facts.nics import Nic
from provision.methods._shared import docker_bridge, link_problems
from provision.methods.macvlan.facts import MacvlanFacts
from provision.methods.macvlan.options import macvlan_options
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem

SHARES_PARENT = (28, 0)
"""The oldest Docker for which several networks on one parent are not refused.

20.10 and 26.1 answer `network dm-… is already using parent interface eth1`; 28.5 allows it. The
versions between were not tried (moby/moby#47318 brought the change); one that still refuses makes
the change fail, and roll back."""

Reason = tuple[str, str]
"""The message and the hint of a problem."""


def name(inventory: Inventory, network: Network, facts: HostFacts) -> str:
    """The NIC's name: as the file says, or the link that holds the host's address; else empty."""
    host = inventory.hosts[facts.host]
    link = facts.link_with(host.address)
    return macvlan_options(network).nic or host.nic or (link.name if link else "")


def nic(inventory: Inventory, network: Network, facts: HostFacts) -> Nic | None:
    """The NIC; None where the host has none of that name."""
    return facts.nics.get(name(inventory, network, facts))


def problems(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Problem]:
    """Yield the reasons why one host cannot put containers on its NIC."""
    link = nic(inventory, network, facts)
    if link is None:
        yield _missing(inventory, network, facts)
        return
    for message, hint in (
        *_link(link),
        *_place(inventory, network, facts, link),
        *_users(inventory, network, facts, link),
        *_others(network, facts, link),
        *_addresses(network, facts),
    ):
        yield Problem(facts.host, message, hint)
    own = facts.link_with(inventory.hosts[facts.host].address)
    if own is not None and own.name == link.name:
        hint = "leave it out by 'hosts': containers on macvlan are on one link"
        yield from docker_bridge.peer_problems(inventory, network, facts, one_link=hint)
    else:
        yield from link_problems.nic_problems(network, facts, link.name)


def _missing(inventory: Inventory, network: Network, facts: HostFacts) -> Problem:
    links = ", ".join(sorted(facts.nics.keys() - {"lo"}))
    wanted = name(inventory, network, facts)
    if wanted:
        message = f"it has no NIC {wanted} for network {network.name}"
        return Problem(facts.host, message, f"its links are {links}")
    address = inventory.hosts[facts.host].address
    message = f"its address {address} is on none of its links, so network {network.name} has no NIC"
    hint = f"write nic: one of {links}"
    return Problem(facts.host, *link_problems.with_cause(facts, message, hint))


def _link(link: Nic) -> Iterator[Reason]:
    if link.master:
        # A NIC has one rx_handler. The bridge holds it, so the kernel refuses a macvlan (EBUSY).
        message = f"{link.name} is a port of {link.master}, so no macvlan can be on it"
        yield message, f"write nic: {link.master}, or name another NIC"
    elif link.wireless:
        message = f"{link.name} is wireless: its access point takes frames of one MAC only"
        yield message, "use method routes, or a wired NIC"
    elif not link.ether:
        yield f"{link.name} is not an Ethernet interface", "name an Ethernet NIC"


def _place(inventory: Inventory, network: Network, facts: HostFacts, link: Nic) -> Iterator[Reason]:
    """The NIC must be on the LAN of `cidr`, or have no part of a range of its own."""
    held = [IPv4Interface(a.cidr) for a in link.addresses if ":" not in a.local]
    ranges = [address.network for address in held]
    strange = next((r for r in ranges if r.overlaps(network.cidr) and r != network.cidr), None)
    if strange is not None:
        message = f"{link.name} is in {strange}, which overlaps {network.cidr} of {network.name}"
        yield message, f"write cidr: {strange}, or a range outside of it"
    elif inventory.hosts[facts.host].address in network.cidr and network.cidr not in ranges:
        message = f"{link.name} has no address of {network.cidr}, so it is not on that LAN"
        yield message, "name the NIC that is"
    gateway = macvlan_options(network).gateway
    if any(address.ip == gateway for address in held):
        message = f"gateway {gateway} is its own address, which its own containers cannot reach"
        yield message, "write another router, or leave the host out by 'hosts'"


def _users(inventory: Inventory, network: Network, facts: HostFacts, link: Nic) -> Iterator[Reason]:
    """What else the inventory does with the NIC on this host."""
    for other in inventory.networks.values():
        if facts.host not in other.hosts or other.name == network.name:
            continue
        bridge = methods.of(other).nic_bridges(inventory, other, facts).get(link.name)
        if bridge not in (None, link.name):
            message = f"network {other.name} makes {link.name} a port of {bridge}"
            yield f"{message}, so no macvlan can be on it", "name another NIC for one of them"
        if other.method == network.method and _is_later(inventory, network, other):
            used = name(inventory, other, facts) == link.name
            if used and (facts.docker or facts.docker_candidate) < SHARES_PARENT:
                yield _shared(f"networks {other.name} and {network.name} are both on {link.name}")
    for container in inventory.containers.values():
        moved = {interface.nic for interface in container.interfaces}
        if container.host == facts.host and link.name in moved:
            message = f"{link.name} moves into container {container.name}, away from {network.name}"
            yield message, "name another NIC for one of them"


def _is_later(inventory: Inventory, network: Network, other: Network) -> bool:
    order = list(inventory.networks)
    return order.index(network.name) > order.index(other.name)


def _shared(message: str) -> Reason:
    hint = "give one of them another nic, or use Docker 28 or newer"
    return f"{message}, and its Docker allows one network per NIC", hint


def _others(network: Network, facts: HostFacts, link: Nic) -> Iterator[Reason]:
    """Docker networks that this inventory did not create."""
    for other in facts.of(MacvlanFacts).others:
        overlapping = [r for r in other.subnets if r.overlaps(network.cidr)]
        if other.name == network.name:
            continue  # the plan names a conflict with it itself
        if overlapping:
            message = f"Docker's network {other.name} has {overlapping[0]}, which overlaps"
            hint = "Docker refuses that: remove it, or choose another range"
            yield f"{message} {network.cidr} of {network.name}", hint
        elif other.parent == link.name and facts.docker < SHARES_PARENT:
            yield _shared(
                f"Docker's network {other.name} and {network.name} are both on {link.name}"
            )


def _addresses(network: Network, facts: HostFacts) -> Iterator[Reason]:
    options, found = macvlan_options(network), facts.of(MacvlanFacts)
    for link in facts.links.values():
        for held in (address.ip for address in link.addresses if address.ip in options.pool):
            message = f"pool {options.pool} holds {held}, which its own {link.name} has"
            yield message, "choose addresses that nobody has"
    for address, answer in found.addresses_in_use.items():
        if IPv4Address(address) in network.subnets[facts.host]:
            message = f"pool {options.pool} holds {address}, which is in use on the LAN: {answer}"
            yield message, "choose addresses that nobody has"
    for address, answer in found.router_arp_errors.items():
        if address == str(options.gateway) and facts.link_with(IPv4Address(address)) is None:
            yield f"gateway {address} cannot be used: {answer}", "write the LAN's router"

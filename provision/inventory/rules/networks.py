"""Rules for groups, hosts and networks: names, addresses, overlaps. Runs all rules. Pure.

Each rule yields findings about the valid items. The names of invalid items are known as well, so
that a mistake in an item is not reported again wherever its name is used.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from ipaddress import IPv4Address

from provision import methods
from provision.inventory.rules import (
    access,
    clashes,
    containers,
    dns_names,
    guests,
    interfaces,
    start_order,
)
from provision.inventory.unused import ALL
from provision.model.documents import Decoded, HostDocument, Layout, NetworkDocument, Subnets
from provision.model.fields.addresses import SMALLEST, too_small
from provision.model.findings import KEY, Finding, Loc
from provision.model.ranges import overlapping
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings of all rules."""
    if not decoded.declared["hosts"]:
        return  # reported already, and every name of a host would be unknown
    yield from _groups(decoded)
    yield from _same_addresses(decoded)
    yield from _networks(decoded, layout)
    for method in dict.fromkeys(network.method for network in decoded.networks.values()):
        yield from methods.named(method).check_file(decoded, layout)
    yield from _unused_keys(decoded, layout)
    yield from containers.findings(decoded, layout)
    yield from guests.findings(decoded, layout)
    yield from start_order.findings(decoded)
    yield from interfaces.findings(decoded, layout)
    yield from clashes.findings(decoded, layout)
    yield from dns_names.findings(decoded, layout)
    yield from access.findings(decoded)


def _unused_keys(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield a finding for each key of a method at a host that is in no network of it."""
    if len(decoded.networks) < len(decoded.declared["networks"]):
        return  # the invalid network may be the one
    for host, document in decoded.hosts.items():
        for key in document.model_fields_set - HostDocument.model_fields.keys():
            if not any(
                network.method == key and host in layout.hosts[name]
                for name, network in decoded.networks.items()
            ):
                message = f"'{key}' has no effect: '{host}' is in no network of this method"
                yield Finding(("hosts", host, key), message, "remove it, or add the host to one")


def _groups(decoded: Decoded) -> Iterator[Finding]:
    hosts = decoded.declared["hosts"]
    for name in decoded.declared["groups"]:
        if name in hosts:
            message = f"group '{name}' has the name of a host"
            yield Finding(("groups", name, KEY), message, "choose another name")
    for name, members in decoded.groups.items():
        for k, member in enumerate(members):
            if member in decoded.declared["groups"] and member not in hosts:
                message = f"{quoted(member)} is a group, but groups contain only hosts"
                yield Finding(("groups", name, k), message, "name its hosts")
            elif member not in hosts:
                yield _unknown_host(("groups", name, k), member, hosts)


def _unknown_host(loc: Loc, name: str, known: tuple[str, ...], noun: str = "host") -> Finding:
    return Finding(loc, f"unknown {noun} {quoted(name)}", did_you_mean(name, known, "hosts"))


def _same_addresses(decoded: Decoded) -> Iterator[Finding]:
    owners: dict[IPv4Address, str] = {}
    for name, host in decoded.hosts.items():
        address = host.address
        first = owners.setdefault(address, name)
        if first != name:
            message = f"{first} and {name} have the same address {address}"
            yield Finding(("hosts", name, "address"), message, "give each its own")


def _networks(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    for name, network in decoded.networks.items():
        mistakes = False
        # One by one: `load` takes only the first ones of a file.
        for finding in _hosts(name, decoded, layout):
            mistakes = True
            yield finding
        # On a LAN, a single host is joined to machines outside of the inventory.
        on_lan = methods.named(network.method).on_hosts_lan
        if len(layout.hosts[name]) < 2 and not mistakes and not on_lan:
            loc = ("networks", name, "hosts" if network.hosts is not None else KEY)
            hint = "name another host; a single host needs only Docker"
            yield Finding(loc, f"network '{name}' needs at least 2 hosts", hint)
    yield from _overlaps(decoded)
    yield from _management(decoded, layout)


def _hosts(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    network = decoded.networks[name]
    hosts, groups = decoded.declared["hosts"], decoded.declared["groups"]
    known = (*hosts, *groups)
    declared = frozenset((*known, ALL))
    for k, host in enumerate(network.hosts or ()):
        if host not in declared:
            item: Loc = ("networks", name, "hosts", k)
            yield _unknown_host(item, host, known, "host or group")
    members = frozenset(layout.hosts[name])
    on_lan = methods.named(network.method).on_hosts_lan
    for host, subnet in (network.subnets or {}).items():
        loc = ("networks", name, "subnets", host, KEY)
        if host not in hosts:
            yield _unknown_host(loc, host, hosts)
        elif host not in members:
            message = f"host '{host}' is not in network '{name}'"
            yield Finding(loc, message, "add it to the network's hosts")
        elif subnet.prefixlen > SMALLEST and not on_lan:
            yield Finding(loc[:-1], *too_small(subnet))


def _overlaps(decoded: Decoded) -> Iterator[Finding]:
    networks = {name: network.cidr for name, network in decoded.networks.items()}
    order = {name: k for k, name in enumerate(networks)}
    for pair in overlapping(networks):
        first, second = sorted(pair, key=order.__getitem__)
        message = f"cidr {networks[second]} overlaps {networks[first]} of network '{first}'"
        yield Finding(("networks", second, "cidr"), message, "choose a range outside of it")


def _management(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """A network contains no address of a host: its routes would cut the host off from SSH."""
    # Sorted and bisected: comparing each network with each host is quadratic in a large fleet.
    owners = sorted((host.address, name) for name, host in decoded.hosts.items())
    addresses = [address for address, _ in owners]
    for name, network in decoded.networks.items():
        if methods.named(network.method).on_hosts_lan:
            continue  # its range is the LAN that the hosts are on
        first = bisect_left(addresses, network.cidr.network_address)
        last = bisect_right(addresses, network.cidr.broadcast_address)
        if first == last:
            continue
        address, host = owners[first]
        around = _range_around(address, network, layout.subnets[name])
        rest = tuple(name for _, name in owners[first + 1 : last])
        also = f" (and the addresses of {listed(rest, 3)})" if rest else ""
        message = f"{around} contains {host}'s address {address}{also}: SSH would be cut off"
        hint = "choose a cidr without addresses of hosts"
        yield Finding(("networks", name, "cidr"), message, hint)


def _range_around(address: IPv4Address, network: NetworkDocument, subnets: Subnets) -> str:
    for host, subnet in subnets.items():
        if address in subnet:
            return f"{host}'s subnet {subnet}"
    return f"cidr {network.cidr}"

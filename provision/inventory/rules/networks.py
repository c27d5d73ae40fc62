"""What the parts of an inventory mean to each other: names, addresses, overlaps. Pure.

Each rule is a generator of findings over the good items; names of items that had mistakes of
their own are known here, so that one mistake is told once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from ipaddress import IPv4Address

from provision import methods
from provision.inventory.rules import interfaces
from provision.inventory.rules.clashes import clash_rules
from provision.inventory.rules.containers import container_rules
from provision.model.documents import Decoded, Layout, NetworkDocument, Subnets
from provision.model.findings import KEY, Finding, Loc
from provision.model.ranges import overlapping
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Every finding of every rule."""
    if not decoded.declared["hosts"]:
        return  # told already; every other name would be unknown
    yield from _groups(decoded)
    yield from _same_addresses(decoded)
    yield from _networks(decoded, layout)
    for method in dict.fromkeys(network.method for network in decoded.networks.values()):
        yield from methods.named(method).check_file(decoded, layout)
    yield from container_rules(decoded, layout)
    yield from interfaces.findings(decoded, layout)
    yield from clash_rules(decoded, layout)


def _groups(decoded: Decoded) -> Iterator[Finding]:
    hosts = decoded.declared["hosts"]
    for name in decoded.declared["groups"]:
        if name in hosts:
            yield Finding(
                ("groups", name, KEY),
                f"group '{name}' has the name of a host",
                "choose another name",
            )
    for name, members in decoded.groups.items():
        for k, member in enumerate(members):
            if member in decoded.declared["groups"] and member not in hosts:
                message = f"{quoted(member)} is a group, and groups hold hosts"
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
            yield Finding(("hosts", name, "address"), message, "each host has its own")


def _networks(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    for name, network in decoded.networks.items():
        named = list(_named_hosts(name, decoded, layout))
        yield from named
        # A LAN has other hosts than those of the inventory.
        alone = methods.named(network.method).on_hosts_lan
        if len(layout.hosts[name]) < 2 and not named and not alone:
            at = ("networks", name, "hosts" if network.hosts is not None else KEY)
            hint = "name another host; one host alone needs only Docker"
            yield Finding(at, f"network '{name}' needs at least 2 hosts to join", hint)
    yield from _overlaps(decoded)
    yield from _management(decoded, layout)


def _named_hosts(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    network = decoded.networks[name]
    hosts, groups = decoded.declared["hosts"], decoded.declared["groups"]
    for k, host in enumerate(network.hosts or ()):
        if host not in hosts and host not in groups:
            at: Loc = ("networks", name, "hosts", k)
            yield _unknown_host(at, host, (*hosts, *groups), "host or group")
    members = frozenset(layout.hosts[name])
    for host in network.subnets or {}:
        loc = ("networks", name, "subnets", host, KEY)
        if host not in hosts:
            yield _unknown_host(loc, host, hosts)
        elif host not in members:
            message = f"host '{host}' is not in network '{name}'"
            yield Finding(loc, message, "add it to the network's hosts")


def _overlaps(decoded: Decoded) -> Iterator[Finding]:
    networks = {name: network.cidr for name, network in decoded.networks.items()}
    order = {name: k for k, name in enumerate(networks)}
    for one, other in overlapping(networks):
        first, second = sorted((one, other), key=order.__getitem__)
        message = f"cidr {networks[second]} overlaps that of '{first}', {networks[first]}"
        yield Finding(("networks", second, "cidr"), message, "choose one apart from it")


def _management(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """A network must hold no host's address: its routes and bridges would take it over."""
    owners = sorted((host.address, name) for name, host in decoded.hosts.items())
    addresses = [address for address, _ in owners]
    for name, network in decoded.networks.items():
        if methods.named(network.method).on_hosts_lan:
            continue  # its range is the very LAN that the hosts are on
        first = bisect_left(addresses, network.cidr.network_address)
        last = bisect_right(addresses, network.cidr.broadcast_address)
        if first == last:
            continue
        address, host = owners[first]
        where = _where(address, network, layout.subnets[name])
        more = tuple(name for _, name in owners[first + 1 : last])
        also = f" (and the addresses of {listed(more, 3)})" if more else ""
        message = f"{where} contains {host}'s address {address}{also}: this would cut management"
        hint = "choose a cidr apart from the hosts' addresses"
        yield Finding(("networks", name, "cidr"), message, hint)


def _where(address: IPv4Address, network: NetworkDocument, parts: Subnets) -> str:
    for host, subnet in parts.items():
        if address in subnet:
            return f"{host}'s subnet {subnet}"
    return f"cidr {network.cidr}"

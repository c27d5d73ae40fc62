"""What the parts of an inventory mean to each other: names, addresses, overlaps. Pure.

Each rule is a generator of complaints over the good items; names of items that had mistakes of
their own are known here, so that one mistake is told once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.inventory.rules import interfaces, subnets
from provision.inventory.rules.containers import container_rules
from provision.inventory.rules.overlays import overlay_rules
from provision.methods.pipework import pool
from provision.model.documents import Decoded, Layout, NetworkDocument, Subnets
from provision.model.findings import KEY, Complaint, Loc, quoted, some
from provision.model.suggest import did_you_mean


def complaints(decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    """Every complaint of every rule."""
    if not decoded.written["hosts"]:
        return  # told already; every other name would be unknown
    yield from _groups(decoded)
    yield from _same_addresses(decoded)
    yield from _networks(decoded, laid)
    if any(network.method == "flannel" for network in decoded.networks.values()):
        from provision.methods.flannel import rules

        yield from rules.complaints(decoded, laid)
    yield from container_rules(decoded, laid)
    yield from interfaces.complaints(decoded, laid)
    yield from overlay_rules(decoded, laid)


def _groups(decoded: Decoded) -> Iterator[Complaint]:
    hosts = decoded.written["hosts"]
    for name in decoded.written["groups"]:
        if name in hosts:
            yield Complaint(
                ("groups", name, KEY),
                f"group '{name}' has the name of a host",
                "choose another name",
            )
    for name, members in decoded.groups.items():
        for k, member in enumerate(members):
            if member in decoded.written["groups"] and member not in hosts:
                message = f"{quoted(member)} is a group, and groups hold hosts"
                yield Complaint(("groups", name, k), message, "name its hosts")
            elif member not in hosts:
                yield _unknown_host(("groups", name, k), member, hosts)


def _unknown_host(loc: Loc, name: str, known: tuple[str, ...], noun: str = "host") -> Complaint:
    return Complaint(loc, f"unknown {noun} {quoted(name)}", did_you_mean(name, known, "hosts"))


def _same_addresses(decoded: Decoded) -> Iterator[Complaint]:
    owners: dict[IPv4Address, str] = {}
    for name, host in decoded.hosts.items():
        address = host.address
        first = owners.setdefault(address, name)
        if first != name:
            message = f"{first} and {name} have the same address {address}"
            yield Complaint(("hosts", name, "address"), message, "each host has its own")


def _networks(decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    for name, network in decoded.networks.items():
        named = list(_named_hosts(name, decoded, laid))
        yield from named
        alone = network.method == pool.METHOD  # a LAN has others than ours on it
        if len(laid.hosts[name]) < 2 and not named and not alone:
            at = ("networks", name, "hosts" if network.hosts is not None else KEY)
            hint = "name another host; one host alone needs only Docker"
            yield Complaint(at, f"network '{name}' needs at least 2 hosts to join", hint)
        yield from subnets.complaints(name, decoded, laid)
    yield from _overlaps(decoded)
    yield from _management(decoded, laid)
    yield from _shared_bridge(decoded, laid)


def _named_hosts(name: str, decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    network = decoded.networks[name]
    hosts, groups = decoded.written["hosts"], decoded.written["groups"]
    for k, host in enumerate(network.hosts or ()):
        if host not in hosts and host not in groups:
            at: Loc = ("networks", name, "hosts", k)
            yield _unknown_host(at, host, (*hosts, *groups), "host or group")
    members = frozenset(laid.hosts[name])
    for host in network.subnets or {}:
        loc = ("networks", name, "subnets", host, KEY)
        if host not in hosts:
            yield _unknown_host(loc, host, hosts)
        elif host not in members:
            message = f"host '{host}' is not in network '{name}'"
            yield Complaint(loc, message, "add it to the network's hosts")


def _overlaps(decoded: Decoded) -> Iterator[Complaint]:
    networks = {name: network.cidr for name, network in decoded.networks.items()}
    order = {name: k for k, name in enumerate(networks)}
    for one, other in subnets.overlapping(networks):
        first, second = sorted((one, other), key=order.__getitem__)
        message = f"cidr {networks[second]} overlaps that of '{first}', {networks[first]}"
        yield Complaint(("networks", second, "cidr"), message, "choose one apart from it")


def _management(decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    """A network must hold no host's address: its routes and bridges would take it over."""
    owners = sorted((host.address, name) for name, host in decoded.hosts.items())
    addresses = [address for address, _ in owners]
    for name, network in decoded.networks.items():
        if network.method == pool.METHOD:
            continue  # its range is the very LAN that the hosts are on
        first = bisect_left(addresses, network.cidr.network_address)
        last = bisect_right(addresses, network.cidr.broadcast_address)
        if first == last:
            continue
        address, host = owners[first]
        where = _where(address, network, laid.subnets[name])
        more = tuple(name for _, name in owners[first + 1 : last])
        also = f" (and the addresses of {some(more, 3)})" if more else ""
        message = f"{where} contains {host}'s address {address}{also}: this would cut management"
        hint = "choose a cidr apart from the hosts' addresses"
        yield Complaint(("networks", name, "cidr"), message, hint)


def _where(address: IPv4Address, network: NetworkDocument, parts: Subnets) -> str:
    for host, subnet in parts.items():
        if address in subnet:
            return f"{host}'s subnet {subnet}"
    return f"cidr {network.cidr}"


def _shared_bridge(decoded: Decoded, laid: Layout) -> Iterator[Complaint]:
    takers: dict[str, str] = {}
    for name, network in decoded.networks.items():
        if getattr(network, "bridge", None) != "docker0":
            continue
        for host in laid.hosts[name]:
            first = takers.setdefault(host, name)
            if first != name:
                message = f"networks '{first}' and '{name}' both take docker0 of host '{host}'"
                hint = "remove 'bridge' from one, or give them other hosts"
                yield Complaint(("networks", name, "bridge"), message, hint)
                break

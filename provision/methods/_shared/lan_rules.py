"""Mistakes in networks on the hosts' LAN, and in the containers that use its addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_interface
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from provision.methods._shared import lan_pool
from provision.methods._shared.lan_pool import LanOptions
from provision.model import names
from provision.model.findings import Finding, Loc
from provision.model.text import count

if TYPE_CHECKING:
    from provision.model.documents import (
        Decoded,
        InterfaceDocument,
        Member,
        NetworkDocument,
    )


def findings(
    name: str,
    network: NetworkDocument,
    hosts: tuple[str, ...],
    decoded: Decoded,
    *,
    own_range: bool = False,
) -> Iterator[Finding]:
    """Yield the mistakes in a network's own keys, and in containers' use of its addresses.

    `own_range`: the range may be one in which no host has an address.
    """
    options, loc = options_of(decoded, name), ("networks", name)
    if not (own_range and not holds_hosts(network, hosts, decoded)):
        yield from _hosts(loc, network, hosts, decoded)
    yield from _gateway(loc, network, options)
    yield from _pool(loc, network, options, hosts, decoded)
    yield from _containers(name, options, decoded)


def options_of(decoded: Decoded, network: str) -> LanOptions:
    """The options of a network on the hosts' LAN."""
    options = decoded.options[network]
    assert isinstance(options, LanOptions)
    return options


def address_findings(
    loc: Loc, container: Member, part: IPv4Network, options: LanOptions
) -> Iterator[Finding]:
    """Yield the reasons why Docker cannot give a container its fixed address of the LAN."""
    if options.pool is not None and container.address not in part:
        message = f"{container.address} is not in {container.host}'s part of the pool, {part}"
        yield Finding(loc, message, f"choose one of {part[0]} to {part[-1]}")


def holds_hosts(network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded) -> bool:
    """True if a host of the network has its address in the network's range."""
    known = (decoded.hosts[host] for host in hosts if host in decoded.hosts)
    return any(document.address in network.cidr for document in known)


def _hosts(
    loc: Loc, network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded
) -> Iterator[Finding]:
    for host in hosts:
        document = decoded.hosts.get(host)
        if document is not None and document.address not in network.cidr:
            message = f"{host}'s address {document.address} is not inside cidr {network.cidr}"
            hint = "write the hosts' LAN as cidr, or leave the host out by 'hosts'"
            yield Finding((*loc, "cidr"), message, hint)
            return


def _gateway(loc: Loc, network: NetworkDocument, options: LanOptions) -> Iterator[Finding]:
    gateway, lan = options.gateway, network.cidr
    if gateway is not None and gateway not in lan:
        hint = "write the router of this LAN"
        yield Finding((*loc, "gateway"), f"gateway {gateway} is not inside {lan}", hint)
    elif gateway in (lan.network_address, lan.broadcast_address):
        message = f"gateway {gateway} is the network or broadcast address of {lan}"
        yield Finding((*loc, "gateway"), message, "write the router's address")


def _pool(
    loc: Loc,
    network: NetworkDocument,
    options: LanOptions,
    hosts: tuple[str, ...],
    decoded: Decoded,
) -> Iterator[Finding]:
    pool = options.pool
    if pool is None:
        for key in ("subnets", "subnet_size"):
            if key in network.model_fields_set:
                hint = "write pool: the part of cidr that containers may have"
                yield Finding((*loc, key), f"'{key}' divides the pool, but there is no pool", hint)
    elif not pool.subnet_of(network.cidr):
        message = f"pool {pool} is not inside cidr {network.cidr}"
        yield Finding((*loc, "pool"), message, "write an unused part of the LAN")
    else:
        yield from _pool_addresses(loc, options, decoded)
        yield from _parts(loc, network, options, hosts)


def _pool_addresses(loc: Loc, options: LanOptions, decoded: Decoded) -> Iterator[Finding]:
    """Docker would give the address of a host or of the router to a container."""
    assert options.pool is not None
    for address, owner in sorted(_owners(options, decoded).items()):
        if address in options.pool:
            message = (
                f"pool {options.pool} holds {owner} {address}, which Docker would give to a "
                "container"
            )
            yield Finding((*loc, "pool"), message, "choose a pool without it")
            return


def _owners(options: LanOptions, decoded: Decoded) -> dict[IPv4Address, str]:
    """Addresses of the LAN that are in use, with the nouns of messages."""
    owners = {document.address: f"{name}'s address" for name, document in decoded.hosts.items()}
    return owners | ({options.gateway: "the gateway"} if options.gateway else {})


def _parts(
    loc: Loc, network: NetworkDocument, options: LanOptions, hosts: tuple[str, ...]
) -> Iterator[Finding]:
    pool = options.pool
    assert pool is not None
    parts, fixed = lan_pool.parts(network, options, hosts), network.subnets or {}
    for host, part in fixed.items():
        if not part.subnet_of(pool):
            message = f"{host}'s part {part} is not inside pool {pool}"
            yield Finding((*loc, "subnets", host), message, "choose one inside")
    if len(parts) < len(hosts):
        size = lan_pool.part_size(network, pool, hosts)
        free = count(names.block_count(pool, size), "part")
        message = f"pool {pool} holds {free} of /{size}, not {len(hosts)}"
        yield Finding(
            (*loc, "pool"), message, f"the network has {count(len(hosts), 'host')}: widen the pool"
        )
    order = sorted(parts, key=lambda host: (parts[host].network_address, parts[host].prefixlen))
    for wide, narrow in pairwise(order):
        if parts[wide].overlaps(parts[narrow]):
            host, peer = (wide, narrow) if wide in fixed else (narrow, wide)
            key: Loc = (*loc, "subnets", host) if host in fixed else (*loc, "pool")
            message = f"{host}'s part {parts[host]} overlaps {peer}'s, {parts[peer]}"
            yield Finding(key, message, "choose another")


def _containers(name: str, options: LanOptions, decoded: Decoded) -> Iterator[Finding]:
    for container_name, container in decoded.containers.items():
        loc: Loc = ("containers", container_name)
        known_host = container.host in decoded.declared["hosts"]
        if container.network == name and options.pool is None and known_host:
            message = f"network '{name}' has no pool, so Docker has no address for the container"
            hint = "give the network a pool, or write network: none and interfaces"
            yield Finding((*loc, "network"), message, hint)
        for k, interface in enumerate(container.interfaces):
            # A VLAN is a LAN of its own, with other routers and other hosts.
            if interface.network == name and interface.vlan is None:
                yield from _reserved((*loc, "interfaces", k), interface, options, decoded)


def _reserved(
    loc: Loc, interface: InterfaceDocument, options: LanOptions, decoded: Decoded
) -> Iterator[Finding]:
    """Yield an interface's addresses that a host, the router or Docker's pool has."""
    owners: dict[Any, str] = dict(_owners(options, decoded))
    pool = options.pool
    for text in interface.all_addresses:
        address = ip_interface(text).ip
        key = "address" if interface.address == text else "addresses"
        if address in owners:
            message = f"{address} is {owners[address]} on network '{interface.network}'"
            yield Finding((*loc, key), message, "choose an unused address")
        elif pool is not None and address in pool:
            message = f"{address} is in pool {pool}, from which Docker gives addresses"
            yield Finding((*loc, key), message, "choose one outside of it")

"""Mistakes in the `flannel` networks of a file. Pure.

flannel retries a bad configuration each second and never ends, so its own rules are checked here
first (pkg/subnet/config.go of v0.28).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provision.methods import ClashKey
from provision.methods._shared.clashes import frr_vni
from provision.methods._shared.subnets import LowestSubnet
from provision.methods.flannel.options import (
    DEFAULT_MEMBER_COUNT,
    Etcd,
    FlannelOptions,
    default_members,
    port,
    vni,
)
from provision.model.fields.addresses import SMALLEST
from provision.model.findings import KEY, Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import count, quoted

if TYPE_CHECKING:
    from provision.model.documents import Decoded, NetworkDocument, Subnets

_BACKENDS = {"vni": ("vxlan",), "direct_routing": ("vxlan",), "port": ("vxlan", "udp")}
"""Keys that only some backends have."""


def findings(
    name: str,
    network: NetworkDocument,
    options: FlannelOptions,
    hosts: tuple[str, ...],
    subnets: Subnets,
) -> Iterator[Finding]:
    """Yield the mistakes in one network."""
    loc: Loc = ("networks", name)
    yield from _backend(loc, network, options)
    # Too few subnets for the hosts is a finding already, with a size that is small enough.
    enough = all(host in subnets for host in hosts)
    ranges = [*(_range(loc, network) if enough else ())] or [*_bounds(loc, network, options)]
    yield from ranges or _subnets(loc, network, options, subnets)
    yield from _etcd(loc, name, options.etcd, hosts)


def options_of(decoded: Decoded, network: str) -> FlannelOptions:
    """The options of a network of this method."""
    options = decoded.options[network]
    assert isinstance(options, FlannelOptions)
    return options


def first_block(network: NetworkDocument, options: FlannelOptions) -> int:
    """The number of the first block that hosts get: the one of subnet_min."""
    low = options.subnet_min
    if low is None or low not in network.cidr:
        return 0
    return (int(low) - int(network.cidr.network_address)) >> (32 - network.subnet_size)


def lowest_subnet(network: NetworkDocument, options: FlannelOptions) -> LowestSubnet | None:
    """The lowest subnet of hosts, if subnet_min is in the range."""
    low = options.subnet_min
    inside = low is not None and low in network.cidr
    return LowestSubnet(low, "subnet_min") if inside and low is not None else None


def _backend(loc: Loc, network: NetworkDocument, options: FlannelOptions) -> Iterator[Finding]:
    backend = options.backend
    for key, backends in _BACKENDS.items():
        if key in network.model_fields_set and backend not in backends:
            message = f"'{key}' is of backend {' and '.join(backends)}, not of {backend}"
            yield Finding((*loc, key, KEY), message, "remove it")
    if backend == "udp" and network.mtu is not None:
        message = "backend udp derives its mtu from the NIC, so it cannot be set"
        yield Finding((*loc, "mtu", KEY), message, "remove it")


def _range(loc: Loc, network: NetworkDocument) -> Iterator[Finding]:
    """flannel needs room for four subnets."""
    cidr, size = network.cidr, network.subnet_size
    key = "subnet_size" if "subnet_size" in network.model_fields_set else "cidr"
    if size < cidr.prefixlen + 2:
        finer = cidr.prefixlen + 2
        hint = f"write subnet_size: {finer}" if finer <= SMALLEST else ""
        message = f"flannel needs at least 4 subnets, but {cidr} has fewer of /{size}"
        yield Finding((*loc, key), message, hint or f"write a wider cidr, like a /{SMALLEST - 2}")


def _bounds(loc: Loc, network: NetworkDocument, options: FlannelOptions) -> Iterator[Finding]:
    """flannel needs bounds inside the range, where a subnet begins, in order."""
    low, high = options.subnet_min, options.subnet_max
    findings = [
        finding
        for key, bound in (("subnet_min", low), ("subnet_max", high))
        if bound is not None
        for finding in _bound((*loc, key), key, bound, network)
    ]
    yield from findings
    if not findings and low is not None and high is not None and low > high:
        message = f"subnet_min {low} is above subnet_max {high}"
        yield Finding((*loc, "subnet_min"), message, "exchange them")


def _bound(loc: Loc, key: str, bound: IPv4Address, network: NetworkDocument) -> Iterator[Finding]:
    start = IPv4Network((int(bound), network.subnet_size), strict=False).network_address
    if bound not in network.cidr:
        message = f"{key} {bound} is not inside cidr {network.cidr}"
        yield Finding(loc, message, "choose one inside")
    elif bound != start:
        message = f"{key} {bound} is not where a /{network.subnet_size} begins"
        yield Finding(loc, message, f"write {start}")


def _subnets(
    loc: Loc, network: NetworkDocument, options: FlannelOptions, subnets: Subnets
) -> Iterator[Finding]:
    """Each host's subnet has flannel's one size and lies between the bounds."""
    low, high = options.subnet_min, options.subnet_max
    for host, subnet in subnets.items():
        fixed = host in (network.subnets or {})
        key: Loc = (*loc, "subnets", host) if fixed else (*loc, "cidr")
        if subnet.prefixlen != network.subnet_size:
            message = f"flannel needs subnets of one size, /{network.subnet_size}, not {subnet}"
            hint = f"write subnet_size: {subnet.prefixlen}, or another subnet"
            yield Finding(key, message, hint)
        elif low is not None and subnet.network_address < low:
            message = f"{host}'s subnet {subnet} is below subnet_min {low}"
            yield Finding(key, message, "choose another")
        elif high is not None and subnet.network_address > high:
            message = f"{host}'s subnet {subnet} is above subnet_max {high}"
            yield Finding(key, message, "choose another" if fixed else "write a higher subnet_max")


def _etcd(loc: Loc, name: str, etcd: Etcd, hosts: tuple[str, ...]) -> Iterator[Finding]:
    key: Loc = (*loc, "etcd")
    yield from _external(key, etcd)
    if etcd.endpoints is not None:
        return
    if etcd.client_port == etcd.peer_port:
        message = f"client_port and peer_port are both {etcd.client_port}"
        yield Finding((*key, "peer_port"), message, "write another, such as 2380")
    members = etcd.members
    if members is None:
        return
    for k, member in enumerate(members):
        if member not in hosts:
            message = f"etcd's member {quoted(member)} is not a host of network '{name}'"
            yield Finding((*key, "members", k), message, did_you_mean(member, hosts, "hosts"))
        elif member in members[:k]:
            yield Finding((*key, "members", k), f"{member} is named twice", "remove one")
    if len(members) % 2 == 0 and len(set(members)) == len(members):
        yield _even((*key, "members"), members, hosts)


_OURS, _FILES = ("members", "client_port", "peer_port"), ("ca", "cert", "key")
"""Keys of an etcd that provision installs, and of one that the user has."""


def _external(key: Loc, etcd: Etcd) -> Iterator[Finding]:
    """The keys of an etcd of the user."""
    if etcd.endpoints is None:
        for name in (name for name in _FILES if name in etcd.model_fields_set):
            message = f"'{name}' is for an etcd of your own, and etcd has no endpoints"
            yield Finding((*key, name, KEY), message, "add endpoints: [https://10.0.0.9:2379]")
        return
    for name in (name for name in _OURS if name in etcd.model_fields_set):
        message = f"'{name}' is for an etcd that provision installs, and endpoints name your own"
        yield Finding((*key, name, KEY), message, "remove it, or the endpoints")
    if not etcd.endpoints:
        yield Finding((*key, "endpoints"), "etcd has no endpoints", "write [https://10.0.0.9:2379]")
    for k, endpoint in enumerate(etcd.endpoints):
        if endpoint in etcd.endpoints[:k]:
            yield Finding((*key, "endpoints", k), f"{endpoint} is named twice", "remove one")
    if missing := [name for name in _FILES if getattr(etcd, name) is None]:
        # flanneld without a client's certificate would go on without TLS.
        message = f"etcd of your own needs the files ca, cert and key: {', '.join(missing)} missing"
        yield Finding((*key, "endpoints", KEY), message, f"add {missing[0]}: FILE")


def shared_prefixes(etcds: Mapping[str, Etcd]) -> Iterator[Finding]:
    """Networks that would keep their leases at the same place of one etcd of the user."""
    places: dict[tuple[str, str], str] = {}
    for name, etcd in etcds.items():
        for endpoint in dict.fromkeys(etcd.endpoints or ()):
            first = places.setdefault((endpoint, etcd.prefix), name)
            if first != name:
                message = f"networks '{first}' and '{name}' both use {etcd.prefix} of {endpoint}"
                loc = ("networks", name, "etcd")
                yield Finding(loc, message, f"write prefix: {etcd.prefix}-{name} in one of them")
                break


def _even(loc: Loc, members: list[str], hosts: tuple[str, ...]) -> Finding:
    if not members:
        message, fewer = "etcd has no members", default_members(hosts)
    else:
        has = count(len(members), "member")
        message = f"etcd has {has}; with one less it survives as many failures"
        fewer = tuple(members[: max(1, len(members) - 1)])
    hint = f"write [{', '.join(fewer)}], or {DEFAULT_MEMBER_COUNT} of the hosts"
    return Finding(loc, message, hint)


def clash_keys(options: FlannelOptions) -> Iterator[ClashKey]:
    """Yield the devices, ports and chains of a host that one flannel network alone can have."""
    number = vni(options)
    if options.backend == "vxlan":
        hint = f"write vni: {number + 1}"
        yield ClashKey(("flannel device", number), ("vni",), f"have vni {number}", hint)
        yield frr_vni(number, "static")
    if options.backend == "udp":
        hint = "flannel has only one udp device: write vxlan"
        yield ClashKey(("flannel device",), ("backend",), "have backend udp", hint)
    udp_port = port(options)
    if udp_port is not None:
        driver = "kernel" if options.backend == "vxlan" else "flanneld"
        use = f"use UDP port {udp_port}"
        yield ClashKey(("udp", udp_port), ("port",), use, "choose another", driver)
    if options.ip_masq:
        hint = "flannel has only one chain for it: use egress: masquerade in one of them"
        yield ClashKey(("flannel masquerade",), ("ip_masq",), "have ip_masq", hint)
    if options.etcd.endpoints is not None:
        return
    for key, tcp_port in {
        "client_port": options.etcd.client_port,
        "peer_port": options.etcd.peer_port,
    }.items():
        hint = f"write etcd: {{{key}: {tcp_port + 1000}}} (each network has an etcd of its own)"
        yield ClashKey(("tcp", tcp_port), ("etcd", key), f"use TCP port {tcp_port}", hint)

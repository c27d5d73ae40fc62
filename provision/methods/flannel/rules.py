"""What flannel and etcd would choke on for ever, found in the file. Pure.

flannel retries a bad configuration each second and never ends; its own rules are copied here
(pkg/subnet/config.go of v0.28).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations

from provision.methods.flannel.options import (
    MOST_MEMBERS,
    Etcd,
    FlannelOptions,
    default_members,
    port,
    vni,
)
from provision.model.documents import Decoded, Layout, NetworkDocument
from provision.model.findings import KEY, Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

_OF = {"vni": ("vxlan",), "direct_routing": ("vxlan",), "port": ("vxlan", "udp")}


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Every finding about `flannel` networks."""
    mine = {name: net for name, net in decoded.networks.items() if net.method == "flannel"}
    for name, network in mine.items():
        loc: Loc = ("networks", name)
        yield from _backend(loc, network)
        wrong = list(_range(loc, network))
        yield from wrong or _parts(loc, name, network, layout)
        yield from _etcd(loc, name, network, layout)
    for one, other in combinations(mine, 2):
        shared = [host for host in layout.hosts[one] if host in layout.hosts[other]]
        if shared:
            yield from _pair(one, mine[one], other, mine[other], shared[0])


def _get(network: NetworkDocument, key: str) -> object:
    return getattr(network, key)


def _backend(loc: Loc, network: NetworkDocument) -> Iterator[Finding]:
    """Keys that the backend does not have."""
    backend = str(_get(network, "backend"))
    for key, owners in _OF.items():
        if key in network.model_fields_set and backend not in owners:
            message = f"'{key}' is of backend {' and '.join(owners)}, not of {backend}"
            yield Finding((*loc, key, KEY), message, "remove it")
    if backend == "udp" and network.mtu is not None:
        message = "backend udp takes its mtu from the link below, and cannot be told"
        yield Finding((*loc, "mtu", KEY), message, "remove it")


def _range(loc: Loc, network: NetworkDocument) -> Iterator[Finding]:
    """flannel needs room for four subnets, and bounds on their borders."""
    cidr, size = network.cidr, network.subnet_size
    at = (*loc, "subnet_size" if "subnet_size" in network.model_fields_set else "cidr")
    if size < cidr.prefixlen + 2:
        hint = f"write subnet_size: {cidr.prefixlen + 2}" if cidr.prefixlen <= 28 else ""
        message = f"flannel needs room for 4 subnets, and {cidr} has fewer of /{size}"
        yield Finding(at, message, hint or "write a cidr of at most /28")
        return
    if size > 30:
        yield Finding(at, f"flannel needs subnets of at least 4 addresses, not /{size}", "")
        return
    bounds = {key: _get(network, key) for key in ("subnet_min", "subnet_max")}
    wrong = False
    for key, bound in bounds.items():
        if isinstance(bound, IPv4Address):
            for one in _bound((*loc, key), key, bound, network):
                wrong = True
                yield one
    low, high = bounds["subnet_min"], bounds["subnet_max"]
    if not wrong and isinstance(low, IPv4Address) and isinstance(high, IPv4Address) and low > high:
        message = f"subnet_min {low} is above subnet_max {high}"
        yield Finding((*loc, "subnet_min"), message, "exchange them")


def _bound(at: Loc, key: str, bound: IPv4Address, network: NetworkDocument) -> Iterator[Finding]:
    start = IPv4Network((int(bound), network.subnet_size), strict=False).network_address
    if bound not in network.cidr:
        yield Finding(at, f"{key} {bound} is not inside cidr {network.cidr}", "choose one inside")
    elif bound != start:
        message = f"{key} {bound} is not where a /{network.subnet_size} begins"
        yield Finding(at, message, f"write {start}")


def _parts(loc: Loc, name: str, network: NetworkDocument, layout: Layout) -> Iterator[Finding]:
    """Each host's part has flannel's one size and lies between the bounds."""
    low, high = _get(network, "subnet_min"), _get(network, "subnet_max")
    for host, part in layout.subnets[name].items():
        fixed = host in (network.subnets or {})
        at: Loc = (*loc, "subnets", host) if fixed else (*loc, "cidr")
        if part.prefixlen != network.subnet_size:
            message = f"flannel's subnets have one size, /{network.subnet_size}, not {part}"
            yield Finding(at, message, f"write subnet_size: {part.prefixlen}, or another subnet")
        elif isinstance(low, IPv4Address) and part.network_address < low:
            yield Finding(at, f"{host}'s subnet {part} is below subnet_min {low}", "choose another")
        elif isinstance(high, IPv4Address) and part.network_address > high:
            yield Finding(
                at, f"{host}'s subnet {part} is above subnet_max {high}", "choose another"
            )


def _etcd(loc: Loc, name: str, network: NetworkDocument, layout: Layout) -> Iterator[Finding]:
    etcd = _get(network, "etcd")
    assert isinstance(etcd, Etcd)
    at: Loc = (*loc, "etcd")
    if etcd.client_port == etcd.peer_port:
        message = f"client_port and peer_port are both {etcd.client_port}"
        yield Finding((*at, "peer_port"), message, "write another, such as 2380")
    named = etcd.members
    if named is None:
        return
    for k, member in enumerate(named):
        if member not in layout.hosts[name]:
            message = f"etcd's member {quoted(member)} is no host of network '{name}'"
            hint = did_you_mean(member, layout.hosts[name], "hosts")
            yield Finding((*at, "members", k), message, hint)
        elif member in named[:k]:
            yield Finding((*at, "members", k), f"{member} is named twice", "remove one")
    if len(named) % 2 == 0 and len(set(named)) == len(named):
        less = f"[{', '.join(named[: max(1, len(named) - 1)])}]"
        message = f"etcd has {len(named)} members: an even number survives no more than one less"
        if not named:
            message, less = (
                "etcd has no members",
                f"[{', '.join(default_members(layout.hosts[name]))}]",
            )
        yield Finding((*at, "members"), message, f"write {less}, or {MOST_MEMBERS} of the hosts")


def _pair(
    one: str, first: NetworkDocument, other: str, second: NetworkDocument, host: str
) -> Iterator[Finding]:
    """Two networks of one host need devices, ports and an etcd each of their own."""
    loc: Loc = ("networks", other)
    kinds = _get(first, "backend"), _get(second, "backend")
    number = vni(_options(second))
    if kinds == ("vxlan", "vxlan") and vni(_options(first)) == number:
        message = f"networks '{one}' and '{other}' both have vni {number} on {host}"
        yield Finding((*loc, "vni"), message, f"write vni: {number + 1}")
    if kinds == ("udp", "udp"):
        message = f"networks '{one}' and '{other}' both have backend udp on {host}"
        yield Finding((*loc, "backend"), message, "flannel has one udp device: write vxlan")
    ports = port(_options(first)), port(_options(second))
    if kinds[0] != kinds[1] and None not in ports and ports[0] == ports[1]:
        message = f"networks '{one}' and '{other}' both use UDP port {ports[0]} on {host}"
        yield Finding((*loc, "port"), message, "choose another")
    if _get(first, "ip_masq") and _get(second, "ip_masq"):
        message = f"networks '{one}' and '{other}' both have ip_masq on {host}"
        hint = "flannel has one chain for it: leave it to egress: masquerade in one"
        yield Finding((*loc, "ip_masq"), message, hint)
    yield from _same_etcd(one, first, other, second)


def _same_etcd(
    one: str, first: NetworkDocument, other: str, second: NetworkDocument
) -> Iterator[Finding]:
    mine, theirs = _get(first, "etcd"), _get(second, "etcd")
    assert isinstance(mine, Etcd) and isinstance(theirs, Etcd)
    used = {mine.client_port, mine.peer_port}
    for key in ("client_port", "peer_port"):
        number = getattr(theirs, key)
        if number in used:
            message = f"the etcd of '{other}' has port {number}, which that of '{one}' has"
            hint = f"write etcd: {{{key}: {number + 1000}}} (each network has an etcd of its own)"
            yield Finding(("networks", other, "etcd", key), message, hint)


def _options(network: NetworkDocument) -> FlannelOptions:
    return FlannelOptions(
        **{field.name: getattr(network, field.name) for field in fields(FlannelOptions)}
    )

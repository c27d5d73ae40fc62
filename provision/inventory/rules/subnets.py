"""Which hosts a network has and which part of it each gets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from provision.methods.pipework import pool
from provision.model.documents import Decoded, Layout, NetworkDocument, Subnets
from provision.model.fields.addresses import SMALLEST
from provision.model.findings import Finding, Loc
from provision.model.names import block_count, nth_block
from provision.model.text import count


def lay_out(decoded: Decoded) -> Layout:
    """Hosts and subnets of all networks that are valid by themselves."""
    networks = decoded.networks
    hosts = {name: _hosts(network, decoded) for name, network in networks.items()}
    parts = {name: _subnets(network, hosts[name]) for name, network in networks.items()}
    return Layout(hosts, parts)


def _hosts(network: NetworkDocument, decoded: Decoded) -> tuple[str, ...]:
    """The network's hosts in order, groups expanded, each once; unknown names left out."""
    if network.hosts is None:
        return decoded.declared["hosts"]
    known = frozenset(decoded.declared["hosts"])
    hosts: dict[str, None] = {}
    for name in network.hosts:
        members = [name] if name in known else decoded.groups.get(name, [])
        hosts |= dict.fromkeys(member for member in members if member in known)
    return tuple(hosts)


def _subnets(network: NetworkDocument, hosts: tuple[str, ...]) -> Subnets:
    """Each host's part: its fixed one, else the block of its place among the hosts.

    The place counts all hosts, fixed or not, so that adding a host at the end moves nobody.
    Hosts beyond the last block are left out; `findings` tells them.
    """
    if network.method == pool.METHOD:
        return pool.parts(network, hosts)
    fixed, size, first = _fixed(network), network.subnet_size, _first(network)
    room = block_count(network.cidr, size) - first
    return {
        host: fixed[host] if host in fixed else nth_block(network.cidr, size, first + k)
        for k, host in enumerate(hosts)
        if host in fixed or k < room
    }


def _first(network: NetworkDocument) -> int:
    """The number of the first block that hosts get; a method may leave out some."""
    low = getattr(network, "subnet_min", None)
    if not isinstance(low, IPv4Address) or low not in network.cidr:
        return 0
    return (int(low) - int(network.cidr.network_address)) >> (32 - network.subnet_size)


def findings(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """What is wrong with a network's parts."""
    network, hosts, subnets = decoded.networks[name], layout.hosts[name], layout.subnets[name]
    loc: Loc = ("networks", name)
    if network.method == pool.METHOD:
        yield from pool.findings(loc, network, hosts, decoded)
        return
    for host, subnet in _fixed(network).items():
        if not subnet.subnet_of(network.cidr):
            message = f"{host}'s subnet {subnet} is not inside cidr {network.cidr}"
            yield Finding((*loc, "subnets", host), message, "choose one inside")
    if any(host not in subnets for host in hosts):
        yield _too_few(loc, network, len(hosts))
    yield from _overlaps(loc, network, subnets)


def _fixed(network: NetworkDocument) -> Subnets:
    return network.subnets or {}


def _too_few(loc: Loc, network: NetworkDocument, hosts: int) -> Finding:
    cidr, size = network.cidr, network.subnet_size
    bits = (hosts - 1).bit_length()
    written = "subnet_size" in network.model_fields_set
    room = block_count(cidr, size)
    part = f"holds {count(room, 'subnet')} of /{size}" if room else f"is smaller than a /{size}"
    if cidr.prefixlen + bits <= SMALLEST:
        hint = f"write subnet_size: {cidr.prefixlen + bits}, or a wider cidr"
    else:
        hint = f"write a wider cidr, like a /{max(size - bits, 8)}"
    message = f"cidr {cidr} {part}, but the network has {count(hosts, 'host')}"
    return Finding((*loc, "subnet_size" if written else "cidr"), message, hint)


def _overlaps(loc: Loc, network: NetworkDocument, subnets: Subnets) -> Iterator[Finding]:
    """Fixed parts that cover another host's part; blocks cannot cover each other."""
    fixed = _fixed(network)
    for one, other in overlapping(subnets):
        at, rest = (one, other) if one in fixed else (other, one)
        if not subnets[at].subnet_of(network.cidr):
            continue
        message = f"{at}'s subnet {subnets[at]} overlaps {rest}'s, {subnets[rest]}"
        hint = "choose another"
        if rest not in fixed:
            hint += f": {rest} has that by its place among the hosts, unless you write it here, too"
        yield Finding((*loc, "subnets", at), message, hint)


def overlapping(networks: Mapping[str, IPv4Network]) -> Iterator[tuple[str, str]]:
    """Names of pairs that overlap: each network at most with the widest one it lies in."""
    # CIDRs nest or are apart, so in order of address only the widest open one is compared with.
    widest: str | None = None
    for name in sorted(networks, key=lambda name: _order(networks[name])):
        end = networks[widest].broadcast_address if widest is not None else None
        if widest is not None and end is not None and networks[name].network_address <= end:
            yield widest, name
        else:
            widest = name


def _order(network: IPv4Network) -> tuple[IPv4Address, int]:
    return network.network_address, network.prefixlen

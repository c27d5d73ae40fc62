"""Networks of method `pipework` in a file: their pool, each host's part of it, its rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import TYPE_CHECKING

from provision.model.findings import Finding, Loc
from provision.model.names import block_count, nth_block
from provision.model.text import count

if TYPE_CHECKING:
    from provision.model.documents import Decoded, NetworkDocument

METHOD = "pipework"
_WHOLE = 32


def parts(network: NetworkDocument, hosts: tuple[str, ...]) -> Mapping[str, IPv4Network]:
    """Each host's part of the pool; without a pool Docker hands out nothing: the LAN itself.

    A fixed part is the host's; the k-th of the hosts has the k-th block of the pool else.
    """
    pool: IPv4Network | None = getattr(network, "pool", None)
    if pool is None:
        return dict.fromkeys(hosts, network.cidr)
    size, fixed = _size(network, pool, hosts), network.subnets or {}
    return {
        host: fixed[host] if host in fixed else nth_block(pool, size, k)
        for k, host in enumerate(hosts)
        if host in fixed or k < block_count(pool, size)
    }


def _size(network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]) -> int:
    """The prefix length of a part: as said, or such that all hosts have one."""
    if "subnet_size" in network.model_fields_set:
        return network.subnet_size
    return min(_WHOLE, pool.prefixlen + max(len(hosts) - 1, 0).bit_length())


def findings(
    loc: Loc, network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded
) -> Iterator[Finding]:
    """What is wrong with a LAN's own keys."""
    pool: IPv4Network | None = getattr(network, "pool", None)
    gateway: IPv4Address | None = getattr(network, "gateway", None)
    yield from _hosts(loc, network, hosts, decoded)
    yield from _docker0(loc, network, pool)
    yield from _ovs(loc, network, pool)
    if gateway is not None and gateway not in network.cidr:
        hint = "write the router that hosts of this LAN have"
        yield Finding((*loc, "gateway"), f"gateway {gateway} is not inside {network.cidr}", hint)
    elif gateway in (network.cidr.network_address, network.cidr.broadcast_address):
        yield Finding((*loc, "gateway"), f"gateway {gateway} is no address of a machine", "")
    if pool is None:
        for key in ("subnets", "subnet_size"):
            if key in network.model_fields_set:
                hint = "write pool: the part of cidr that containers may have"
                yield Finding((*loc, key), f"'{key}' divides a pool, and there is none", hint)
        return
    if not pool.subnet_of(network.cidr):
        message = f"pool {pool} is not inside cidr {network.cidr}"
        yield Finding((*loc, "pool"), message, "write a part of the LAN that nobody uses")
        return
    yield from _taken((*loc, "pool"), pool, gateway, decoded)
    yield from _parts(loc, network, pool, hosts)


def _hosts(
    loc: Loc, network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded
) -> Iterator[Finding]:
    for host in hosts:
        document = decoded.hosts.get(host)
        if document is not None and document.address not in network.cidr:
            message = f"{host}'s address {document.address} is not inside cidr {network.cidr}"
            hint = "cidr is the LAN that the hosts are on; leave the host out by 'hosts'"
            yield Finding((*loc, "cidr"), message, hint)
            return


def _docker0(loc: Loc, network: NetworkDocument, pool: IPv4Network | None) -> Iterator[Finding]:
    if getattr(network, "docker0", None) is None:
        return
    at: Loc = (*loc, "docker0")
    if pool is None:
        yield Finding(at, "docker0: replace needs a pool for Docker", "write pool: …, too")
    if getattr(network, "host_port", None) == "veth":
        message = "Docker gives a bridge without an address one of its own choice"
        yield Finding(at, message, "write host_port: bridge, or leave docker0 out")
    if getattr(network, "kind", None) == "ovs":
        yield Finding(at, "docker0 is a Linux bridge always", "write kind: linux")


def _ovs(loc: Loc, network: NetworkDocument, pool: IPv4Network | None) -> Iterator[Finding]:
    if getattr(network, "kind", None) != "ovs":
        return
    if pool is not None:
        message = "Docker puts no container on a bridge of Open vSwitch"
        yield Finding((*loc, "pool"), message, "remove it, and give containers interfaces")
    if getattr(network, "host_port", None) == "veth":
        message = "a bridge of Open vSwitch has a port of its own for the host"
        yield Finding((*loc, "host_port"), message, "remove it")


def _taken(
    at: Loc, pool: IPv4Network, gateway: IPv4Address | None, decoded: Decoded
) -> Iterator[Finding]:
    """Docker would hand these out again."""
    owners = {document.address: f"{name}'s address" for name, document in decoded.hosts.items()}
    if gateway is not None:
        owners[gateway] = "the gateway"
    for one, owner in sorted(owners.items()):
        if one in pool:
            message = f"pool {pool} holds {owner} {one}, which Docker would give to a container"
            yield Finding(at, message, "choose a pool apart from it")
            return


def _parts(
    loc: Loc, network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]
) -> Iterator[Finding]:
    found, fixed = parts(network, hosts), network.subnets or {}
    for host, part in fixed.items():
        if not part.subnet_of(pool):
            message = f"{host}'s part {part} is not inside pool {pool}"
            yield Finding((*loc, "subnets", host), message, "choose one inside")
    if len(found) < len(hosts):
        size = _size(network, pool, hosts)
        room = block_count(pool, size)
        message = f"pool {pool} holds {count(room, 'part')} of /{size}, not {len(hosts)}"
        yield Finding((*loc, "pool"), message, f"it has {count(len(hosts), 'host')}: widen it")
    names = sorted(found, key=lambda host: (found[host].network_address, found[host].prefixlen))
    for one, other in pairwise(names):
        if found[one].overlaps(found[other]):
            at, rest = (one, other) if one in fixed else (other, one)
            where: Loc = (*loc, "subnets", at) if at in fixed else (*loc, "pool")
            message = f"{at}'s part {found[at]} overlaps {rest}'s, {found[rest]}"
            yield Finding(where, message, "choose another")


def fits(
    loc: Loc, fixed: IPv4Address, host: str, network: NetworkDocument, part: IPv4Network
) -> Iterator[Finding]:
    """Whether Docker can give this address to a container of the LAN."""
    pool: IPv4Network | None = getattr(network, "pool", None)
    hint = f"choose one of {part[0]} to {part[-1]}"
    if pool is not None and fixed not in part:
        yield Finding(loc, f"{fixed} is not in {host}'s part of the pool, {part}", hint)


def poolless(loc: Loc, name: str, decoded: Decoded) -> Iterator[Finding]:
    """A container that Docker shall put on a LAN of which it may hand out nothing."""
    network = decoded.networks[name]
    if network.method == METHOD and getattr(network, "pool", None) is None:
        message = f"network '{name}' has no pool from which Docker could give an address"
        hint = "write network: none and interfaces, or give the network a pool"
        yield Finding((*loc, "network"), message, hint)

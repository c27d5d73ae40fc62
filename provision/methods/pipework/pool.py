"""Networks of method `pipework` in a file: their pool, each host's part of it, its rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from typing import TYPE_CHECKING

from provision.model import names as address
from provision.model.findings import Complaint, Loc, count

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
        host: fixed[host] if host in fixed else address.block(pool, size, k)
        for k, host in enumerate(hosts)
        if host in fixed or k < address.blocks(pool, size)
    }


def _size(network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]) -> int:
    """The prefix length of a part: as said, or such that all hosts have one."""
    if "subnet_size" in network.model_fields_set:
        return network.subnet_size
    return min(_WHOLE, pool.prefixlen + max(len(hosts) - 1, 0).bit_length())


def complaints(
    loc: Loc, network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded
) -> Iterator[Complaint]:
    """What is wrong with a LAN's own keys."""
    pool: IPv4Network | None = getattr(network, "pool", None)
    gateway: IPv4Address | None = getattr(network, "gateway", None)
    yield from _hosts(loc, network, hosts, decoded)
    yield from _docker0(loc, network, pool)
    yield from _ovs(loc, network, pool)
    if gateway is not None and gateway not in network.cidr:
        hint = "write the router that hosts of this LAN have"
        yield Complaint((*loc, "gateway"), f"gateway {gateway} is not inside {network.cidr}", hint)
    elif gateway in (network.cidr.network_address, network.cidr.broadcast_address):
        yield Complaint((*loc, "gateway"), f"gateway {gateway} is no address of a machine", "")
    if pool is None:
        for key in ("subnets", "subnet_size"):
            if key in network.model_fields_set:
                hint = "write pool: the part of cidr that containers may have"
                yield Complaint((*loc, key), f"'{key}' divides a pool, and there is none", hint)
        return
    if not pool.subnet_of(network.cidr):
        message = f"pool {pool} is not inside cidr {network.cidr}"
        yield Complaint((*loc, "pool"), message, "write a part of the LAN that nobody uses")
        return
    yield from _taken((*loc, "pool"), pool, gateway, decoded)
    yield from _parts(loc, network, pool, hosts)


def _hosts(
    loc: Loc, network: NetworkDocument, hosts: tuple[str, ...], decoded: Decoded
) -> Iterator[Complaint]:
    for host in hosts:
        document = decoded.hosts.get(host)
        if document is not None and document.address not in network.cidr:
            message = f"{host}'s address {document.address} is not inside cidr {network.cidr}"
            hint = "cidr is the LAN that the hosts are on; leave the host out by 'hosts'"
            yield Complaint((*loc, "cidr"), message, hint)
            return


def _docker0(loc: Loc, network: NetworkDocument, pool: IPv4Network | None) -> Iterator[Complaint]:
    if getattr(network, "docker0", None) is None:
        return
    at: Loc = (*loc, "docker0")
    if pool is None:
        yield Complaint(at, "docker0: replace needs a pool for Docker", "write pool: …, too")
    if getattr(network, "host_port", None) == "veth":
        message = "Docker gives a bridge without an address one of its own choice"
        yield Complaint(at, message, "write host_port: bridge, or leave docker0 out")
    if getattr(network, "kind", None) == "ovs":
        yield Complaint(at, "docker0 is a Linux bridge always", "write kind: linux")


def _ovs(loc: Loc, network: NetworkDocument, pool: IPv4Network | None) -> Iterator[Complaint]:
    if getattr(network, "kind", None) != "ovs":
        return
    if pool is not None:
        message = "Docker puts no container on a bridge of Open vSwitch"
        yield Complaint((*loc, "pool"), message, "remove it, and give containers interfaces")
    if getattr(network, "host_port", None) == "veth":
        message = "a bridge of Open vSwitch has a port of its own for the host"
        yield Complaint((*loc, "host_port"), message, "remove it")


def _taken(
    at: Loc, pool: IPv4Network, gateway: IPv4Address | None, decoded: Decoded
) -> Iterator[Complaint]:
    """Docker would hand these out again."""
    owners = {document.address: f"{name}'s address" for name, document in decoded.hosts.items()}
    if gateway is not None:
        owners[gateway] = "the gateway"
    for one, owner in sorted(owners.items()):
        if one in pool:
            message = f"pool {pool} holds {owner} {one}, which Docker would give to a container"
            yield Complaint(at, message, "choose a pool apart from it")
            return


def _parts(
    loc: Loc, network: NetworkDocument, pool: IPv4Network, hosts: tuple[str, ...]
) -> Iterator[Complaint]:
    found, fixed = parts(network, hosts), network.subnets or {}
    for host, part in fixed.items():
        if not part.subnet_of(pool):
            message = f"{host}'s part {part} is not inside pool {pool}"
            yield Complaint((*loc, "subnets", host), message, "choose one inside")
    if len(found) < len(hosts):
        size = _size(network, pool, hosts)
        room = address.blocks(pool, size)
        message = f"pool {pool} holds {count(room, 'part')} of /{size}, not {len(hosts)}"
        yield Complaint((*loc, "pool"), message, f"it has {count(len(hosts), 'host')}: widen it")
    names = sorted(found, key=lambda host: (found[host].network_address, found[host].prefixlen))
    for one, other in pairwise(names):
        if found[one].overlaps(found[other]):
            at, rest = (one, other) if one in fixed else (other, one)
            where: Loc = (*loc, "subnets", at) if at in fixed else (*loc, "pool")
            message = f"{at}'s part {found[at]} overlaps {rest}'s, {found[rest]}"
            yield Complaint(where, message, "choose another")


def fits(
    loc: Loc, fixed: IPv4Address, host: str, network: NetworkDocument, part: IPv4Network
) -> Iterator[Complaint]:
    """Whether Docker can give this address to a container of the LAN."""
    pool: IPv4Network | None = getattr(network, "pool", None)
    hint = f"choose one of {part[0]} to {part[-1]}"
    if pool is not None and fixed not in part:
        yield Complaint(loc, f"{fixed} is not in {host}'s part of the pool, {part}", hint)


def poolless(loc: Loc, name: str, decoded: Decoded) -> Iterator[Complaint]:
    """A container that Docker shall put on a LAN of which it may hand out nothing."""
    network = decoded.networks[name]
    if network.method == METHOD and getattr(network, "pool", None) is None:
        message = f"network '{name}' has no pool from which Docker could give an address"
        hint = "write network: none and interfaces, or give the network a pool"
        yield Complaint((*loc, "network"), message, hint)

"""The default division of a network: one block of equal size for each host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provision.model import names
from provision.model.fields.addresses import SMALLEST
from provision.model.findings import Finding, Loc
from provision.model.ranges import free_blocks, overlapping, placed
from provision.model.text import count

if TYPE_CHECKING:
    from provision.model.documents import Member, NetworkDocument, Subnets


def equal_blocks(network: NetworkDocument, hosts: tuple[str, ...], *, first: int = 0) -> Subnets:
    """The fixed subnet of each host, else the block of its position among the hosts.

    `first` blocks are skipped. The position counts all hosts, fixed or not, so that adding a host
    at the end moves no other. If a fixed subnet is in its place, the host gets the next free
    block. Hosts beyond the last block are left out, and one without a free block overlaps a fixed
    subnet: `findings` reports both.
    """
    fixed, size = network.subnets or {}, network.subnet_size
    free = names.block_count(network.cidr, size) - first
    positions = {
        host: names.nth_block(network.cidr, size, first + k)
        for k, host in enumerate(hosts)
        if host not in fixed and k < free
    }
    kept = {host: fixed[host] for host in hosts if host in fixed}
    subnets = placed(
        hosts, kept, positions, lambda used: free_blocks(network.cidr, size, used, first)
    )
    return {host: net for host in hosts if (net := subnets.get(host) or positions.get(host))}


def findings(
    loc: Loc,
    network: NetworkDocument,
    hosts: tuple[str, ...],
    subnets: Subnets,
    low: LowestSubnet | None = None,
) -> Iterator[Finding]:
    """Yield the mistakes in a network's subnets: outside of its range, overlapping, too few."""
    for host, subnet in (network.subnets or {}).items():
        if not subnet.subnet_of(network.cidr):
            message = f"{host}'s subnet {subnet} is not inside cidr {network.cidr}"
            yield Finding((*loc, "subnets", host), message, "choose one inside")
    if any(host not in subnets for host in hosts):
        yield _too_few(loc, network, len(hosts), low)
    yield from _overlaps(loc, network, subnets)


@dataclass(frozen=True, slots=True)
class LowestSubnet:
    """The first address of the subnets that hosts may get, and the key that says so."""

    address: IPv4Address
    key: str


def _too_few(loc: Loc, network: NetworkDocument, hosts: int, low: LowestSubnet | None) -> Finding:
    cidr, size = network.cidr, network.subnet_size
    key = "subnet_size" if "subnet_size" in network.model_fields_set else "cidr"
    free = names.block_count(cidr, size)
    content = f"holds {count(free, 'subnet')} of /{size}" if free else f"is smaller than a /{size}"
    if low and free:
        content += f", {_free(cidr, size, low)} of them from {low.key} {low.address} on"
    message = f"cidr {cidr} {content}, but the network has {count(hosts, 'host')}"
    return Finding((*loc, key), message, _more_subnets(network, hosts, low))


def _more_subnets(network: NetworkDocument, hosts: int, low: LowestSubnet | None) -> str:
    cidr, size = network.cidr, network.subnet_size
    alternative = f"a lower {low.key}" if low else "a wider cidr"
    # flannel, which alone has a lowest subnet, wants room for four.
    least = cidr.prefixlen + (2 if network.method == "flannel" else 0)
    for finer in range(max(least, size + 1 if low else least), SMALLEST + 1):
        if _free(cidr, finer, low) >= hosts:
            return f"write subnet_size: {finer}, or {alternative}"
    bits = (hosts - 1).bit_length()
    wider = f"write a wider cidr, like a /{max(min(size, SMALLEST) - bits, 8)}"
    return f"write {alternative}" if low else wider


def _free(cidr: IPv4Network, size: int, low: LowestSubnet | None) -> int:
    """The number of blocks of a size that hosts may get."""
    skipped = (int(low.address) - int(cidr.network_address)) >> (32 - size) if low else 0
    return max(names.block_count(cidr, size) - skipped, 0)


def _overlaps(loc: Loc, network: NetworkDocument, subnets: Subnets) -> Iterator[Finding]:
    """Yield the fixed subnets that cover another host's; blocks cannot cover each other."""
    fixed = network.subnets or {}
    for wide, narrow in overlapping(subnets):
        host, peer = (wide, narrow) if wide in fixed else (narrow, wide)
        if not subnets[host].subnet_of(network.cidr):
            continue
        message = f"{host}'s subnet {subnets[host]} overlaps {peer}'s, {subnets[peer]}"
        hint = "choose another"
        if peer not in fixed:
            hint += f", or write one for {peer}, too: it has this by its position among the hosts"
        yield Finding((*loc, "subnets", host), message, hint)


def address_findings(
    loc: Loc, container: Member, subnet: IPv4Network, *, docker0: bool
) -> Iterator[Finding]:
    """Yield the reasons why Docker cannot give a container its fixed address."""
    if docker0:
        hint = f"remove it, or remove 'bridge' from network '{container.network}'"
        yield Finding(loc, "Docker fixes no addresses on docker0", hint)
        return
    address = container.address
    low, high = subnet.network_address + 2, subnet.broadcast_address - 1
    hint = f"choose one from {low} to {high}"
    roles: dict[IPv4Address | None, str] = {
        subnet.network_address: "network address",
        names.gateway(subnet): "gateway",
        subnet.broadcast_address: "broadcast address",
    }
    if address not in subnet:
        message = f"{address} is not in {container.host}'s part of '{container.network}', {subnet}"
        yield Finding(loc, message, hint)
    elif address in roles:
        yield Finding(loc, f"{address} is the {roles[address]} of {subnet}", hint)

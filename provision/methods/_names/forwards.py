"""Names that only one host knows: those of guests, which Docker may give another address. Pure.

The other hosts ask that host's DNS server for them, so that an answer is never older than its TTL.
"""

from __future__ import annotations

from collections.abc import Container as Names
from collections.abc import Iterable, Iterator
from functools import cache
from ipaddress import IPv4Network

from provision.methods._names.members import NamedMember
from provision.model.inventory import Network
from provision.model.names import gateway
from provision.resources.kinds.dns_records import DnsForward


def live(members: Iterable[NamedMember], host: str) -> tuple[NamedMember, ...]:
    """The guests of a host whose addresses only it knows."""
    return tuple(each for each in members if each.proposed is not None and each.host == host)


def names_here(members: Iterable[NamedMember], host: str) -> tuple[str, ...]:
    """The names with a dot of a host's own guests, about which it asks nobody else."""
    return tuple(name for each in live(members, host) for name in each.names if "." in name)


def of_network(
    network: Network, members: tuple[NamedMember, ...], host: str
) -> Iterator[DnsForward]:
    """Yield the names of the guests of other hosts, and the ranges of these hosts for PTR."""
    homes: dict[str, str] = {}
    for each in members:
        if each.proposed is not None and each.host != host:
            if each.host not in homes:
                homes[each.host] = _server(network, each.host, host)
            server = homes[each.host]
            yield from (DnsForward(name, server) for name in each.names)
    for home, server in homes.items():
        yield from (DnsForward(zone, server) for zone in _zones(network.subnets[home]))


def of_further_network(
    network: Network, members: tuple[NamedMember, ...], host: str, known: Names[str]
) -> Iterator[DnsForward]:
    """Yield the names with a dot of another network's guests, which that network's server knows."""
    for each in members:
        if each.proposed is not None:
            server = _server(network, each.host, host)
            dotted = (name for name in each.names if "." in name and name not in known)
            yield from (DnsForward(name, server) for name in dotted)


def _server(network: Network, home: str, host: str) -> str:
    """The server of one host as another one asks it.

    The questions come from the address of the own bridge: that is the one to which every method has
    a way back, and that no WireGuard peer refuses.
    """
    address = gateway(network.subnets[home])
    return str(address) if home == host else f"{address}@{gateway(network.subnets[host])}"


@cache
def _zones(cidr: IPv4Network) -> tuple[str, ...]:
    """The zones of a host, which all other hosts need."""
    return tuple(reverse_zones(cidr))


def reverse_zones(cidr: IPv4Network) -> Iterator[str]:
    """Yield the names below which the addresses of a range have their PTR records."""
    whole = -(-cidr.prefixlen // 8) * 8  # a zone ends at a byte
    for part in cidr.subnets(new_prefix=whole):
        labels = str(part.network_address).split(".")[: whole // 8]
        yield ".".join((*reversed(labels), "in-addr.arpa"))

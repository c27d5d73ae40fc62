"""Addresses of the hosts' own LAN for a comparison: the user's choice, or unused ones."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import islice

from provision import methods
from provision.engine.fleet import Fleet, Session
from provision.facts.arp import arp_errors
from provision.facts.host import Link
from provision.facts.lines import KeyedLines
from provision.model.errors import UnfitError, UsageError
from provision.model.reading import reading
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

MOST = 256
"""The largest number of addresses to probe."""
HOST_PREFIX = 30
"""The prefix length of each host's share of a pool."""
PROBE_S = 30.0
_HINT = "give a free part of the LAN by --pool CIDR"


def find_pool(
    session: Session, fleet: Fleet, hosts: tuple[str, ...], option: str | None
) -> tuple[IPv4Network, IPv4Network]:
    """The LAN of `hosts` and a pool in it: the value of `--pool`, or one that nobody answers for.

    Raises UsageError for a wrong `--pool`, UnfitError if the hosts share no LAN or it has no free
    part.
    """
    lan, nic = _lan(session, fleet, hosts)
    if option is not None:
        return lan, _parsed(option, lan)
    used = [host.address for host in session.inventory.hosts.values()]
    for host in hosts:
        links = fleet.facts[host].links.values()
        used += [interface.ip for link in links for interface in link.addresses]
        for method in methods.on_host(session.inventory, host):
            used += method.lan_addresses(session.inventory, host)
    pools = pools_of(lan, len(hosts), used)
    answering = _answering(session, hosts[0], nic, pools)
    for pool in pools:
        if not any(address in pool for address in answering):
            session.say(f"Using {pool} for containers on the LAN: no host answers ARP there")
            return lan, pool
    raise UnfitError(hosts[0], f"its LAN {lan} has no free part", _HINT)


def _lan(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> tuple[IPv4Network, str]:
    """The LAN of the hosts' inventory addresses, and the first host's NIC on it."""
    first: tuple[IPv4Network, str] | None = None
    for host in hosts:
        address = session.inventory.hosts[host].address
        link = fleet.facts[host].link_with(address)
        if link is None:
            raise UnfitError(host, f"none of its interfaces has its address {address}")
        lan = _interface(link, address).network
        if first is None:
            first = lan, link.name
        elif lan != first[0]:
            problem = f"it is on {lan}, and {hosts[0]} on {first[0]}: they share no LAN"
            raise UnfitError(host, problem)
    assert first is not None
    return first


def _interface(link: Link, address: IPv4Address) -> IPv4Interface:
    return next(interface for interface in link.addresses if interface.ip == address)


def _parsed(text: str, lan: IPv4Network) -> IPv4Network:
    try:
        pool = IPv4Network(text)
    except ValueError as error:
        raise UsageError(
            f"--pool {text}: {error}", "write it as a range, such as 10.0.0.224/28"
        ) from error
    if not pool.subnet_of(lan):
        raise UsageError(f"--pool {text} is not part of {lan}, the LAN of the hosts")
    return pool


def pools_of(lan: IPv4Network, hosts: int, used: Iterable[IPv4Address]) -> tuple[IPv4Network, ...]:
    """Parts of a LAN with room for this many hosts and without a `used` address, highest first.

    Leaves out the first and the last part: routers usually have an address there, and they
    contain the network's own address and the broadcast address.
    """
    length = HOST_PREFIX - (hosts - 1).bit_length()
    size = 2 ** (32 - length)
    addresses = set(used)
    first, last = (int(end) for end in (lan.network_address, lan.broadcast_address))
    starts = range(last + 1 - 2 * size, first, -size)
    parts = (IPv4Network((start, length)) for start in starts)
    unused = (part for part in parts if not any(address in part for address in addresses))
    return tuple(islice(unused, MOST // size))


def _answering(
    session: Session, host: str, nic: str, pools: Iterable[IPv4Network]
) -> frozenset[IPv4Address]:
    """Addresses of `pools` that a machine on the LAN answers ARP for.

    The host sends ARP probes (RFC 5227) without a sender address, which change no ARP cache.
    """
    addresses = [str(address) for pool in pools for address in pool]
    if not addresses:
        return frozenset()
    probes = [argument for address in addresses for argument in ("own", address, address)]
    # "own": nobody but this host may answer. The packet size (1500) is for pings, not for ARP.
    argv = quoted(("perl", "-e", program_text("checks/lan.pl"), "compare", nic, "1500", *probes))
    output = session.transport.run(host, f"{PRELUDE}{argv}\n", timeout_s=PROBE_S)
    answers = KeyedLines(output.stdout).every("answer")
    if len(answers) != len(addresses):
        reason = output.stderr.strip()[-200:]
        raise UnfitError(host, f"it cannot send ARP probes to its LAN: {reason}", _HINT)
    with reading(host, "answers to ARP probes", output.stdout):
        return frozenset(IPv4Address(text) for text in arp_errors(answers, "duplicate"))

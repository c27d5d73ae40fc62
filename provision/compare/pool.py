"""Addresses of the hosts' own LAN for a comparison: those named, or ones nobody answers for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import islice

from provision.engine.fleet import Fleet, Session
from provision.facts import nics
from provision.facts.host import Link
from provision.facts.lines import KeyedLines
from provision.methods.pipework.nic import asked as wanted_on_lan
from provision.model.errors import UnfitError, UsageError
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted

MOST = 256
"""So many addresses are asked for at most."""
PART = 30
"""The prefix length of each host's part."""
ASK_S = 30.0
_OTHERWISE = "name a free part of it by --pool CIDR"


def pool(
    session: Session, fleet: Fleet, hosts: tuple[str, ...], named: str | None
) -> tuple[IPv4Network, IPv4Network]:
    """The LAN of `hosts`, and a free part of it: `named`, or one that nobody answers for.

    Raises UsageError for a `named` part that is none, UnfitError where there is no LAN of all or
    nothing free is found on it.
    """
    lan, nic = _lan(session, fleet, hosts)
    if named is not None:
        return lan, _named(named, lan)
    held = [host.address for host in session.inventory.hosts.values()]
    for host in hosts:
        held += [own.ip for link in fleet.facts[host].links.values() for own in link.addresses]
        held += [IPv4Address(text) for text in wanted_on_lan(session.inventory, host)]
    parts = parts_of(lan, len(hosts), held)
    said = _answered(session, hosts[0], nic, parts)
    for part in parts:
        if not any(address in part for address in said):
            session.say(f"pipework's containers get addresses of {part}: nobody answers for them")
            return lan, part
    raise UnfitError(hosts[0], f"no part of its LAN {lan} was found free", _OTHERWISE)


def _lan(session: Session, fleet: Fleet, hosts: tuple[str, ...]) -> tuple[IPv4Network, str]:
    """The LAN of the addresses by which `hosts` reach each other, and the first one's NIC on it."""
    found: tuple[IPv4Network, str] | None = None
    for host in hosts:
        address = session.inventory.hosts[host].address
        link = fleet.facts[host].link_with(address)
        if link is None:
            raise UnfitError(host, f"its address {address} is on none of its interfaces")
        lan = _held(link, address).network
        if found is None:
            found = lan, link.name
        elif lan != found[0]:
            told = f"it is on {lan}, and {hosts[0]} on {found[0]}: they share no LAN"
            raise UnfitError(host, told)
    assert found is not None
    return found


def _held(link: Link, address: IPv4Address) -> IPv4Interface:
    return next(own for own in link.addresses if own.ip == address)


def _named(text: str, lan: IPv4Network) -> IPv4Network:
    try:
        part = IPv4Network(text)
    except ValueError as error:
        raise UsageError(f"--pool {text}: {error}", "write a range, like 10.0.0.224/28") from error
    if not part.subnet_of(lan):
        raise UsageError(f"--pool {text} is no part of {lan}, the LAN of the hosts")
    return part


def parts_of(lan: IPv4Network, hosts: int, held: Iterable[IPv4Address]) -> tuple[IPv4Network, ...]:
    """Parts of a LAN with room for so many hosts and none of `held`, the highest first.

    Not the first nor the last one, where routers are, and which hold the LAN's own two addresses.
    """
    length = PART - (hosts - 1).bit_length()
    size = 2 ** (32 - length)
    used = set(held)
    first, last = (int(end) for end in (lan.network_address, lan.broadcast_address))
    starts = range(last + 1 - 2 * size, first, -size)
    every = (IPv4Network((start, length)) for start in starts)
    apart = (part for part in every if not any(address in part for address in used))
    return tuple(islice(apart, MOST // size))


def _answered(
    session: Session, host: str, nic: str, parts: Iterable[IPv4Network]
) -> frozenset[IPv4Address]:
    """For which addresses somebody on the LAN answers ARP: probes of RFC 5227, which claim none."""
    words = [word for part in parts for ip in part for word in ("own", str(ip), str(ip))]
    if not words:
        return frozenset()
    argv = quoted(("perl", "-e", program_text("checks/lan.pl"), "compare", nic, "1500", *words))
    output = session.transport.run(host, f"{PRELUDE}{argv}\n", timeout_s=ASK_S)
    answers = KeyedLines(output.stdout).every("answer")
    if len(answers) != len(words) // 3:
        told = f"its LAN cannot be asked who is there: {output.stderr.strip()[-200:]}"
        raise UnfitError(host, told, _OTHERWISE)
    said = nics.arp_errors(answers, "duplicate")
    return frozenset(IPv4Address(address) for address in said)

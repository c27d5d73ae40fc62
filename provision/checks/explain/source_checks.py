"""Causes in checks of a packet's source, beside the kernel's rp_filter. Pure.

Bridges may drop frames whose source is not what a port should send, as hypervisors do against
spoofing: rules of ebtables, which netfilter's trace does not show. Their counters tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision.checks.explain.case import Case
from provision.checks.explain.evidence import Growth
from provision.checks.explain.model import HOST, Cause, Point
from provision.checks.rule_removal import removal

BACKEND = "ebtables"
"""The name of ebtables' rules among the counters."""
_DEVICES = ("-i", "-o")
_SOURCES = ("-s", "--ip-src")
_PROTOCOLS = ("IPv4", "0x0800")
# Version 1.8.9 prints `-s ! MAC`, later ones `! -s MAC`.
_MATCH = re.compile(r" (! )?(-i|-o|-p|-s|--ip-src|-j) (! )?(\S+)")


@dataclass(frozen=True, slots=True)
class _Senders:
    """The senders of frames of the probe; `single` if no other frames come through the device."""

    macs: tuple[str, ...]
    addresses: tuple[IPv4Address, ...]
    single: bool


def bridge_rules(case: Case, around: Iterable[Point]) -> Iterator[Cause]:
    """Yield the rules of bridges that dropped frames; `around` are the points beside the loss."""
    for host in dict.fromkeys(point.host for point in around):
        for growth in case.of(host).growths:
            if growth.backend == BACKEND and growth.rule.endswith(" -j DROP"):
                yield _cause(case, host, growth)


def _cause(case: Case, host: str, growth: Growth) -> Cause:
    name = f"ebtables -t {growth.table} {growth.rule}"
    if any(option in _SOURCES for _, option, _, _ in _MATCH.findall(growth.rule)):
        kind, criterion = "source_check", "by their source"
    else:
        kind, criterion = "firewall_rule", "on its bridge"
    text = f"{host} drops frames {criterion}: {name} counted {growth.packets} meanwhile"
    fix = removal("ebtables", growth.table, growth.rule)
    # The counter also grows by frames of others: only a source that fits shows that it was ours.
    certain = _fits(case, host, growth.rule)
    return Cause(host, kind, name, text, "a person", fix, certain=certain)


def _fits(case: Case, host: str, rule: str) -> bool:
    """True if the rule matches frames of the probe or of its answer for sure."""
    matches = [
        (bool(before or after), option, value)
        for before, option, after, value in _MATCH.findall(rule)
    ]
    if _MATCH.sub("", rule).split()[2:] or not any(option in _SOURCES for _, option, _ in matches):
        return False  # another match, or none of the source
    points = {point.device for point in case.points if (point.host, point.space) == (host, HOST)}
    entry = next((value for inverted, o, value in matches if o == "-i" and not inverted), "")
    senders = _senders(case, host, entry)
    for inverted, option, value in matches:
        if option in _DEVICES and (inverted or value not in points):
            return False
        if option == "-p" and (inverted or value not in _PROTOCOLS):
            return False
        if option in _SOURCES and not _is_of(senders, option, value, inverted=inverted):
            return False
    return True


def _senders(case: Case, host: str, entry: str) -> _Senders:
    """MACs and addresses of the frames' senders, and whether only one can send through `entry`."""
    ends = ((case.source_side, case.address), (case.target_side, case.inner_address))
    for side, address in ends:
        end = side.host_end if side and side.host == host else None
        if side and side.link and end and end.name == entry:
            return _Senders((side.link.mac,), (address,), single=True)
    macs = tuple(side.link.mac for side, _ in ends if side and side.link)
    return _Senders(macs, tuple(address for _, address in ends), single=False)


def _is_of(senders: _Senders, option: str, value: str, *, inverted: bool) -> bool:
    if inverted and not senders.single:
        return False  # frames of others match an inverted source, too
    try:
        if option == "-s":
            inside = any(_mac_fits(mac, value) for mac in senders.macs)
        else:
            network = IPv4Network(value, strict=False)
            inside = any(address in network for address in senders.addresses)
    except ValueError:
        return False
    return inside != inverted


def _mac_fits(mac: str, value: str) -> bool:
    text, _, mask_text = value.partition("/")
    mask = _number(mask_text) if mask_text else (1 << 48) - 1
    return _number(mac) & mask == _number(text) & mask


def _number(mac: str) -> int:
    """The bits of a MAC; raises ValueError for another text, such as Multicast."""
    parts = [int(part, 16) for part in mac.split(":")]
    if len(parts) != 6:
        raise ValueError(mac)
    return int.from_bytes(bytes(parts), "big")

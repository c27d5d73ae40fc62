"""Causes in checks of a packet's source, beside the kernel's rp_filter. Pure.

Bridges may drop frames whose source is not what a port should send, as hypervisors do against
spoofing: rules of ebtables, which netfilter's trace does not show. Their counters tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network

from provision.checks.explain.case import Case
from provision.checks.explain.evidence import Growth
from provision.checks.explain.model import Cause, Point

BACKEND = "ebtables"
"""The name of ebtables' rules among the counters."""
_SOURCE = re.compile(r"(! )?(--ip-src|-s) (\S+)")


def bridge_rules(case: Case, around: Iterable[Point]) -> Iterator[Cause]:
    """Yield the rules of bridges that dropped frames; `around` are the points beside the loss."""
    for host in dict.fromkeys(point.host for point in around):
        for growth in case.of(host).growths:
            if growth.backend == BACKEND and re.search(r" -j DROP$|^-P \S+ DROP$", growth.rule):
                yield _cause(case, host, growth)


def _cause(case: Case, host: str, growth: Growth) -> Cause:
    matches = [_fits(case, *match) for match in _SOURCE.findall(growth.rule)]
    name = f"ebtables -t {growth.table} {growth.rule}"
    if matches:
        kind, what = "source_check", "by their source"
    else:
        kind, what = "firewall_rule", "on its bridge"
    text = f"{host} drops frames {what}: {name} counted {growth.packets} meanwhile"
    fix = f"ebtables -t {growth.table} {growth.rule.replace('-A ', '-D ', 1)}"
    # The counter also grows by frames of others: only a source that fits shows that it was ours.
    certain = bool(matches) and all(matches)
    return Cause(host, kind, name, text, "a person", fix, certain=certain)


def _fits(case: Case, inverted: str, option: str, value: str) -> bool:
    """True if a match of a rule is for the frames of the probe or of its answer."""
    if option == "-s":
        macs = {
            side.link.mac for side in (case.source_side, case.target_side) if side and side.link
        }
        return (value.lower() in macs) != bool(inverted)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        return False
    ends = (case.address, case.inner_address)
    return any((address in network) != bool(inverted) for address in ends)

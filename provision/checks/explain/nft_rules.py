"""The rules of native nft tables, as `nft -a list ruleset` prints them, and what they may drop.

netfilter's trace begins in the raw table of IPv4. A packet that a NIC's ingress hook drops, or a
bridge on its way in, was not there yet: such rules can only be read. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.checks.explain.case import Case
from provision.checks.explain.model import Cause, Point
from provision.resources.script import quoted

_TABLE = re.compile(r"table (\S+) (\S+) \{")
_CHAIN = re.compile(r"\tchain (\S+) \{")
_HOOK = re.compile(r"\t\ttype \S+ hook (\S+) (.*?)priority [^;]+;(?: policy (\w+);)?")
_RULE = re.compile(r"\t\t(\S.*?) # handle (\d+)$")
_DEVICE = re.compile(r'"([^"]+)"|(\w[\w.@-]*)')
_ADDRESSES = re.compile(r"\bip [sd]addr (\d[\d.]+(?:/\d+)?)(?: |$)")
_DROP = re.compile(r'(?:^| )(?:drop|reject)\b(?![^"]*"$)')


@dataclass(frozen=True, slots=True)
class NftRule:
    """A rule, or a base chain's policy if `handle` is 0.

    `hook` is that of its chain, empty for one that others jump to; `devices` are those of the hook.
    """

    family: str
    table: str
    chain: str
    hook: str
    devices: tuple[str, ...]
    handle: int
    text: str

    @property
    def name(self) -> str:
        """The rule with its table and chain."""
        return f"nft table {self.table} chain {self.chain}: {self.text}"

    @property
    def place(self) -> tuple[str, str, str]:
        """The arguments of nft that name the chain."""
        return self.family, self.table, self.chain


def rules(lines: Iterable[str]) -> Iterator[NftRule]:
    """Yield the rules of a listing, and the policies `drop`; handles count in each table anew."""
    family = table = chain = hook = ""
    devices: tuple[str, ...] = ()
    for line in lines:
        if match := _TABLE.match(line):
            family, table = match.groups()
        elif match := _CHAIN.match(line):
            chain, hook, devices = match[1], "", ()
        elif match := _HOOK.match(line):
            hook = match[1]
            names = match[2].replace("devices =", "").replace("device ", "")
            devices = tuple(quotes or bare for quotes, bare in _DEVICE.findall(names))
            if match[3] == "drop":
                yield NftRule(family, table, chain, hook, devices, 0, "policy drop")
        elif chain and (match := _RULE.match(line)):
            yield NftRule(family, table, chain, hook, devices, int(match[2]), match[1])
        elif line == "\t}":
            chain = ""


def untraced(case: Case, around: Iterable[Point]) -> Iterator[Cause]:
    """Yield rules that may have dropped the probe before its trace began, or beside it.

    `around` are the points beside the loss. Nothing shows that a rule matched: none is certain.
    """
    points = tuple(around)
    for host in dict.fromkeys(point.host for point in points):
        devices = {point.device for point in points if point.host == host}
        listed = tuple(rules(case.of(host).nft))
        tables = {rule.place[:2] for rule in listed if _may_match(rule, devices)}
        for rule in listed:
            is_near = _may_match(rule, devices) or (not rule.hook and rule.place[:2] in tables)
            if is_near and _drops(rule) and _names_an_end(case, rule):
                yield _cause(host, rule)


def _may_match(rule: NftRule, devices: set[str]) -> bool:
    """True for a base chain of a bridge, and for one at the entrance or exit of a device."""
    if rule.hook in ("ingress", "egress"):
        return bool(devices & set(rule.devices))
    # ebtables has its rules in such chains, too, with names in capitals and counters.
    return rule.family == "bridge" and bool(rule.hook) and not rule.chain.isupper()


def _drops(rule: NftRule) -> bool:
    return rule.handle == 0 or bool(_DROP.search(rule.text))


def _names_an_end(case: Case, rule: NftRule) -> bool:
    """False for a rule about addresses of which the probe and its tunnel have none."""
    ends = {case.address, case.inner_address, case.target_address}
    ends |= {host.address for host in case.inventory.hosts.values()}
    matched = [IPv4Network(text, strict=False) for text in _ADDRESSES.findall(rule.text)]
    return all(any(end in network for end in ends) for network in matched)


def fix(place: tuple[str, str, str], handle: int) -> str:
    """The command that deletes a rule, or lets a base chain accept if `handle` is 0."""
    if handle:
        return quoted(("nft", "delete", "rule", *place, "handle", str(handle)))
    return quoted(("nft", "chain", *place, "{ policy accept ; }"))


def _cause(host: str, rule: NftRule) -> Cause:
    where = f"hook {rule.hook} of family {rule.family}" if rule.hook else f"family {rule.family}"
    text = f"{host} may drop the packet where netfilter does not trace it ({where}): {rule.name}"
    command = fix(rule.place, rule.handle)
    return Cause(host, "firewall_rule", rule.name, text, "a person", command, certain=False)

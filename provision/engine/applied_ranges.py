"""Ranges of networks that inventories have applied, as the resources on a host tell them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.resources.base import State
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.on_hosts import UNMARKED, Mark


@dataclass(frozen=True, slots=True, order=True)
class AppliedRange:
    """The whole range `cidr` of the network `mark` on one host; `subnet`: the host's part of it.

    `subnet` is None if the resource tells the whole range only.
    """

    host: str
    mark: Mark
    cidr: IPv4Network
    subnet: IPv4Network | None = None


def applied_ranges(resources: State) -> Iterator[AppliedRange]:
    """Yield the range of each network; a network may come twice.

    Every method with a range of its own has the iptables chain, as it keeps the addresses of
    containers from being translated. It also outlives dockerd and Open vSwitch. Flannel's claim
    is on the disk.
    """
    for ref, resource in resources.items():
        match resource:
            case IptablesChain(table="nat", mark=mark) if mark != UNMARKED:
                for cidr, subnet in _untranslated(resource.rules):
                    yield AppliedRange(ref.host, mark, cidr, subnet)
            case Flannel(inventory=inventory) if inventory:
                yield AppliedRange(ref.host, Mark(inventory, resource.network), resource.cidr)


def _untranslated(rules: Sequence[Sequence[str]]) -> Iterator[tuple[IPv4Network, IPv4Network]]:
    """Yield both ranges of each rule `-s SUBNET -d RANGE … -j ACCEPT`, the whole range first."""
    for rule in rules:
        if len(rule) > 4 and (rule[0], rule[2]) == ("-s", "-d") and rule[-1] == "ACCEPT":
            try:
                yield IPv4Network(rule[3]), IPv4Network(rule[1])
            except ValueError:
                continue  # somebody has edited the chain, which is drift of its inventory

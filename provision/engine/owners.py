"""The inventories that own names and ranges on hosts, for the messages of conflicts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network

from provision.engine.applied_ranges import AppliedRange, applied_ranges
from provision.resources.base import Resource, State
from provision.resources.on_hosts import UNMARKED, Mark

_UPLINKS = frozenset(("lan_bridge", "lan_bridge_ovs", "ovs_uplink"))
"""Kinds of interfaces that take the place of a NIC."""


@dataclass(frozen=True, slots=True)
class Owners:
    """The marks of other inventories by host: of names of interfaces and files, and of ranges.

    `shared` are interfaces by which the host reaches its LAN, so that routes of anybody use them.
    """

    names: dict[tuple[str, str], Mark] = field(default_factory=dict)
    shared: set[tuple[str, str]] = field(default_factory=set)
    ranges: dict[str, list[AppliedRange]] = field(default_factory=dict)

    @classmethod
    def of(cls, foreign: State) -> Owners:
        """The owners of `foreign`, resources that are not of this inventory."""
        owners = cls()
        for resource in foreign.values():
            mark = mark_of(resource)
            if mark is not None:
                names = [(resource.host, name) for name in resource.names()]
                owners.names.update(dict.fromkeys(names, mark))
                if resource.kind in _UPLINKS:
                    owners.shared.update(names)
        for entry in applied_ranges(foreign):
            owners.ranges.setdefault(entry.host, []).append(entry)
        return owners

    def of_name(self, host: str, name: str) -> Mark | None:
        """The owner of an interface or a file."""
        return self.names.get((host, name))

    def of_route(self, host: str, dst: IPv4Network, dev: str) -> Mark | None:
        """The owner of a route: of a range that has it, or of its interface."""
        for entry in self.ranges.get(host, ()):
            if dst.subnet_of(entry.cidr):
                return entry.mark
        return None if (host, dev) in self.shared else self.of_name(host, dev)


def mark_of(resource: Resource) -> Mark | None:
    """The mark of a resource that an inventory owns; None without one."""
    mark = getattr(resource, "mark", UNMARKED)
    return mark if isinstance(mark, Mark) and mark.inventory else None


def existence(mark: Mark | None) -> str:
    """The predicate of a sentence about something in the way: its owner, as far as it is known."""
    return f"belongs to inventory {mark.inventory}" if mark else "exists outside this inventory"


def ownership(mark: Mark | None) -> str:
    """The same as the end of a sentence."""
    return f"which {existence(mark)}" if mark else "outside this inventory"


def removal(mark: Mark | None) -> str:
    """The hint for something of another inventory; empty for things without an owner."""
    if mark is None:
        return ""
    return f"choose another name or range, or destroy it by the file of {mark.inventory}"

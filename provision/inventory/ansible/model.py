"""What an Ansible inventory says: hosts, groups, and variables that know where they stand. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALL, UNGROUPED = "all", "ungrouped"


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of a file, from 1."""

    path: Path
    line: int


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's value and where it was written."""

    value: Any
    spot: Spot


Variables = dict[str, Value]


@dataclass(slots=True)
class Group:
    """One group as written; `hosts` and `children` in the order in which they came."""

    spot: Spot
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: Variables = field(default_factory=dict)


class Misread(Exception):
    """What is wrong at which line."""

    def __init__(self, spot: Spot, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.spot, self.message, self.hint = spot, message, hint


@dataclass(slots=True)
class Tree:
    """An inventory as written: groups, and variables of single hosts in order of appearance."""

    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, Variables] = field(default_factory=dict)
    spots: dict[str, Spot] = field(default_factory=dict)

    def group(self, name: str, spot: Spot) -> Group:
        """The group of that name, new at `spot` where it is the first time."""
        return self.groups.setdefault(name, Group(spot))

    def host(self, name: str, group: str, spot: Spot, variables: Variables) -> None:
        """Say that a host is in a group; later variables win."""
        self.hosts.setdefault(name, {}).update(variables)
        self.spots.setdefault(name, spot)
        members = self.group(group, spot).hosts
        if name not in members:
            members.append(name)

    def child(self, name: str, parent: str, spot: Spot) -> None:
        """Say that a group is in another. Raises Misread where groups would hold each other."""
        self.group(name, spot)
        if parent == name or parent in self.below(name):
            raise Misread(spot, f"group '{name}' would hold itself", "remove one of the children")
        children = self.group(parent, spot).children
        if name not in children:
            children.append(name)

    def below(self, group: str) -> set[str]:
        """Every group that a group holds, at any depth."""
        found: set[str] = set()
        todo = [group]
        while todo:
            for child in self.groups[todo.pop()].children:
                if child not in found:
                    found.add(child)
                    todo.append(child)
        return found

    def members(self, group: str) -> tuple[str, ...]:
        """Hosts of a group and of the groups in it, in the order of the file."""
        names = {group, *self.below(group)}
        inside = {host for name in names for host in self.groups[name].hosts}
        return tuple(host for host in self.order() if host in inside)

    def order(self) -> tuple[str, ...]:
        """All hosts as Ansible goes through them: those of outer groups before those within."""
        held = {child for group in self.groups.values() for child in group.children}
        outer = [name for name in self.groups if name not in held and name not in (ALL, UNGROUPED)]
        level, found, seen = [ALL, UNGROUPED, *outer], dict[str, None](), set[str]()
        while level:
            seen.update(level)
            groups = [self.groups[name] for name in level if name in self.groups]
            found |= dict.fromkeys(host for group in groups for host in group.hosts)
            below = dict.fromkeys(child for group in groups for child in group.children)
            level = [name for name in below if name not in seen]
        return tuple(found)

    def depths(self) -> dict[str, int]:
        """How far below `all` each group is, by the longest way."""
        depths = dict.fromkeys(self.groups, 1) | {ALL: 0}
        for _ in self.groups:
            for name, group in self.groups.items():
                for child in group.children:
                    depths[child] = max(depths[child], depths[name] + 1)
        return depths

    def holders(self) -> dict[str, list[str]]:
        """Groups that hold each host, the nearest to it last."""
        depths = self.depths()
        inner = sorted(
            (name for name in self.groups if name != ALL),
            key=lambda name: (depths[name], self.priority(name), name),
        )
        found: dict[str, list[str]] = {host: [ALL] for host in self.hosts}
        for name in inner:
            for host in self.members(name):
                found[host].append(name)
        return found

    def priority(self, group: str) -> int:
        """`ansible_group_priority`: which of two groups of one depth wins."""
        value = self.groups[group].variables.get("ansible_group_priority")
        return int(value.value) if value and str(value.value).isdigit() else 1

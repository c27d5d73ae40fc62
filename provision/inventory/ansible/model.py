"""An Ansible inventory as written: hosts, groups, and variables with their positions. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from provision.model.findings import Finding, FindingError, Position

ALL, UNGROUPED = "all", "ungrouped"


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a variable, and the line that sets it."""

    value: Any
    position: Position


Variables = dict[str, Value]


@dataclass(slots=True)
class Group:
    """A group as written; `hosts` and `children` in order of appearance."""

    position: Position
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: Variables = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """All groups and hosts of an inventory, in order of appearance.

    `hosts` maps each host to the variables of its own lines, `positions` to its first line.
    `resolved`: Ansible has read it, and these are all variables that the hosts have. `ignored` are
    mistakes that Ansible warns of and goes on.
    """

    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, Variables] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    resolved: bool = False
    ignored: list[Finding] = field(default_factory=list)

    def group(self, name: str, position: Position) -> Group:
        """The group of that name; create it at `position` if it is new."""
        return self.groups.setdefault(name, Group(position))

    def add_host(self, name: str, group: str, position: Position, variables: Variables) -> None:
        """Add a host to a group; a variable set again replaces the earlier value."""
        self.hosts.setdefault(name, {}).update(variables)
        self.positions.setdefault(name, position)
        members = self.group(group, position).hosts
        if name not in members:
            members.append(name)

    def add_child(self, name: str, parent: str, position: Position) -> None:
        """Add a group to its parent group. Raises FindingError if that closes a circle."""
        self.group(name, position)
        if parent == name or parent in self.descendants(name):
            message = f"group '{name}' would contain itself"
            raise FindingError.at(position, message, "remove one of the children")
        children = self.group(parent, position).children
        if name not in children:
            children.append(name)

    def add(self, other: Tree) -> None:
        """Add what another file defines. Raises FindingError as `add_child` does."""
        self.ignored += other.ignored
        for name, group in other.groups.items():
            self.group(name, group.position).variables.update(group.variables)
            for host in group.hosts:
                self.add_host(host, name, other.positions[host], other.hosts[host])
        for name, group in other.groups.items():
            for child in group.children:
                self.add_child(child, name, group.position)

    def descendants(self, group: str) -> set[str]:
        """Every group inside a group, at any depth."""
        descendants: set[str] = set()
        pending = [group]
        while pending:
            for child in self.groups[pending.pop()].children:
                if child not in descendants:
                    descendants.add(child)
                    pending.append(child)
        return descendants

    def members(self, group: str) -> tuple[str, ...]:
        """Hosts of a group and of all groups inside it, in Ansible's order."""
        names = {group, *self.descendants(group)}
        members = {host for name in names for host in self.groups[name].hosts}
        return tuple(host for host in self.order() if host in members)

    def order(self) -> tuple[str, ...]:
        """All hosts in the order of `ansible --list-hosts`: those of outer groups first."""
        inner = {child for group in self.groups.values() for child in group.children}
        outer = [name for name in self.groups if name not in inner and name not in (ALL, UNGROUPED)]
        level, hosts, visited = [ALL, UNGROUPED, *outer], dict[str, None](), set[str]()
        while level:
            visited.update(level)
            groups = [self.groups[name] for name in level if name in self.groups]
            hosts |= dict.fromkeys(host for group in groups for host in group.hosts)
            children = dict.fromkeys(child for group in groups for child in group.children)
            level = [name for name in children if name not in visited]
        return tuple(hosts)

    def depths(self) -> dict[str, int]:
        """Number of steps from `all` down to each group, on the longest path."""
        depths = dict.fromkeys(self.groups, 1) | {ALL: 0}
        # Each pass moves depths one step down, and no path is longer than the number of groups.
        for _ in self.groups:
            for name, group in self.groups.items():
                for child in group.children:
                    depths[child] = max(depths[child], depths[name] + 1)
        return depths

    def groups_of_hosts(self) -> dict[str, list[str]]:
        """The groups of each host in Ansible's order of precedence: variables of the last win."""
        # As in ansible.inventory.helpers.sort_groups: by depth, priority and name.
        depths = self.depths()
        inner = sorted(
            (name for name in self.groups if name != ALL),
            key=lambda name: (depths[name], self.priority(name), name),
        )
        groups: dict[str, list[str]] = {host: [ALL] for host in self.hosts}
        for name in inner:
            for host in self.members(name):
                groups[host].append(name)
        return groups

    def priority(self, group: str) -> int:
        """`ansible_group_priority`: between groups of the same depth, the highest wins."""
        value = self.groups[group].variables.get("ansible_group_priority")
        try:
            return int(str(value.value)) if value else 1
        except ValueError:
            return 1

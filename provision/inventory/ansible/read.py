"""Read an Ansible inventory and the variable files next to it, as entries of our own `hosts`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from provision.inventory.ansible import config, yaml
from provision.inventory.ansible.hosts import host_data, notes, only_by_ansible
from provision.inventory.ansible.model import ALL, UNGROUPED, Tree, Value, Variables
from provision.inventory.ansible.sources import (
    Sources,
    entries_of,
    is_folder,
    is_there,
    text_of,
    tree_of,
)
from provision.model.findings import Finding, FindingError, Position

_SUFFIXES = ("", ".yml", ".yaml", ".json")
_LOCAL = ("local", "ansible.builtin.local")


@dataclass(frozen=True, slots=True)
class AnsibleInventory:
    """Hosts as plain data of our own `hosts`, and the hosts of each group.

    `positions` and `group_positions` lead to the first line of each host and group, `variables`
    holds the effective variables of each host, `findings` those that provision cannot honour: the
    `loc` of each is that of the key of our own file that would replace the variable. `notes`, by
    host, tell of variables that have no effect. `ignored` are mistakes that Ansible warns of.
    """

    hosts: Mapping[str, dict[str, Any]]
    groups: Mapping[str, list[str]]
    positions: Mapping[str, Position]
    group_positions: Mapping[str, Position]
    variables: Mapping[str, Variables]
    findings: tuple[Finding, ...]
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    templates: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Host → its variables of the login whose values only Ansible can evaluate."""
    ignored: tuple[Finding, ...] = ()

    @property
    def local(self) -> frozenset[str]:
        """The hosts that are the controller itself: Ansible uses no connection for them."""
        connections = {
            name: variables.get("ansible_connection") for name, variables in self.variables.items()
        }
        return frozenset(name for name, at in connections.items() if at and at.value in _LOCAL)

    def _members(self, name: str) -> Iterable[str]:
        if name == ALL:
            return self.hosts
        return (name,) if name in self.hosts else self.groups.get(name, ())

    def part(self, names: Iterable[str]) -> AnsibleInventory:
        """The hosts of these names and groups, and the groups that have any of them."""
        chosen = {host for name in names for host in self._members(name)}
        groups = {
            name: [member for member in members if member in chosen]
            for name, members in self.groups.items()
        }
        return replace(
            self,
            hosts={name: host for name, host in self.hosts.items() if name in chosen},
            groups={name: members for name, members in groups.items() if members},
            positions={name: at for name, at in self.positions.items() if name in chosen},
            findings=tuple(finding for finding in self.findings if finding.loc[1] in chosen),
        )


def read(
    sources: Sources | Path, evaluated: Mapping[str, Mapping[str, Any]] | None = None
) -> AnsibleInventory:
    """Read an inventory in INI, YAML or JSON, or a folder of them, or have Ansible read it.

    `evaluated`: values of variables by host that replace templates and vaults. Raises FindingError
    if a file cannot be read, or has mistakes that leave no host.
    """
    if isinstance(sources, Path):
        sources = Sources((sources,), sources.parent)
    tree = tree_of(sources)
    if tree.ignored and not tree.hosts:
        raise FindingError(tree.ignored[0])
    findings: list[Finding] = []
    variables = _effective_variables(tree, sources.folders, findings)
    defaults = _defaults(sources.config)
    hosts, templates = {}, {}
    for name in tree.order():
        own = defaults | variables[name]
        for key, value in (evaluated or {}).get(name, {}).items():
            own[key] = Value(value, own[key].position)
        hosts[name] = host_data(name, own, findings)
        templates[name] = frozenset(only_by_ansible(own))
    group_positions = {name: group.position for name, group in tree.groups.items()}
    remarks = {name: tuple(notes(name, own)) for name, own in variables.items()}
    return AnsibleInventory(
        hosts,
        _groups(tree),
        tree.positions,
        group_positions,
        variables,
        tuple(findings),
        remarks,
        templates,
        tuple(tree.ignored),
    )


def _defaults(path: Path | None) -> Variables:
    return config.variables(path, text_of(path)) if path else {}


def _groups(tree: Tree) -> dict[str, list[str]]:
    groups = {name: list(tree.members(name)) for name in tree.groups if name != ALL}
    grouped = {host for name, hosts in groups.items() if name != UNGROUPED for host in hosts}
    groups[UNGROUPED] = [host for host in tree.order() if host not in grouped]
    return groups if groups[UNGROUPED] else {k: v for k, v in groups.items() if k != UNGROUPED}


def _effective_variables(
    tree: Tree, folders: Sequence[Path], findings: list[Finding]
) -> dict[str, Variables]:
    """Variables of each host by Ansible's precedence, the last wins.

    Groups in the file, group_vars, the host's own line, host_vars. A file that cannot be read is a
    finding about each host whose variables it has.
    """
    if tree.resolved:
        return dict(tree.hosts)
    groups = tree.groups | {ALL: tree.groups.get(ALL) or tree.group(ALL, Position(folders[0]))}
    group_vars = {
        name: [_readable(folder / "group_vars", name) for folder in folders] for name in groups
    }
    effective: dict[str, Variables] = {}
    groups_of = tree.groups_of_hosts()
    for host, line_variables in tree.hosts.items():
        merged: Variables = {}
        for name in groups_of[host]:
            merged |= groups[name].variables
            merged.pop("ansible_group_priority", None)  # a property of the group, not of its hosts
        of_groups = [file for name in groups_of[host] for file in group_vars[name]]
        own = [_readable(folder / "host_vars", host) for folder in folders]
        problems = (problem for file in (*of_groups, *own) for problem in file[1])
        findings += (replace(finding, loc=("hosts", host)) for finding in problems)
        for values in (*(file[0] for file in of_groups), line_variables, *(f[0] for f in own)):
            merged |= values
        effective[host] = merged
    return effective


def _readable(folder: Path, name: str) -> tuple[Variables, tuple[Finding, ...]]:
    """The variables of a host or group in a folder, or the finding that they cannot be read."""
    try:
        return _variable_files(folder, name), ()
    except FindingError as error:
        return {}, (error.finding,)


def _variable_files(folder: Path, name: str) -> Variables:
    """Variables of a host or group in the file NAME, NAME.yml, …, or all files of folder NAME."""
    # Ansible reads the first of these that exists, not all.
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        if "/" in name or not is_there(path):
            continue
        variables: Variables = {}
        for file in _files(path) if is_folder(path) else (path,):
            variables |= yaml.variables(file, text_of(file))
        return variables
    return {}


def _files(folder: Path) -> Iterator[Path]:
    for path in entries_of(folder):
        if is_folder(path):
            yield from _files(path)
        elif path.suffix in _SUFFIXES and not path.name.startswith("."):
            yield path

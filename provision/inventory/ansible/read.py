"""Read an Ansible inventory and the variable files next to it, as entries of our own `hosts`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from provision.inventory.ansible import ini, yaml
from provision.inventory.ansible.model import ALL, UNGROUPED, Tree, Value, Variables
from provision.model.fields import files
from provision.model.findings import BadValueError, Finding, FindingError, Loc, Position
from provision.model.text import quoted

MAX_BYTES = 4 << 20
_SUFFIXES = ("", ".yml", ".yaml", ".json")
# Variable → its former names, which Ansible still reads.
_FORMER_NAMES = {
    "ansible_host": ("ansible_ssh_host",),
    "ansible_port": ("ansible_ssh_port",),
    "ansible_user": ("ansible_ssh_user",),
    "ansible_ssh_private_key_file": ("ansible_private_key_file",),
}
# Variable → the key of a host in our own file that replaces it.
_KEYS: dict[str, Loc] = {
    "ansible_host": ("ssh", "address"),
    "ansible_port": ("ssh", "port"),
    "ansible_user": ("ssh", "user"),
    "ansible_ssh_private_key_file": ("ssh", "key"),
    "ansible_become": ("ssh", "sudo"),
    "ansible_become_method": ("ssh", "sudo"),
    "ansible_become_user": ("ssh", "sudo"),
    "ansible_connection": ("ssh",),
}
# The names that Ansible passes over in a folder (INVENTORY_IGNORE_EXTS).
_IGNORED = re.compile(
    r"^\.|^(host_vars|group_vars|vars_plugins)$"
    r"|(~|\.(pyc|pyo|swp|bak|rpm|md|txt|rst|orig|cfg|retry))$"
)
_LOCAL = ("local", "ansible.builtin.local")
_SSH_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
# Options of ssh that lead through a jump host, in lower case: -J HOST, -W HOST:PORT.
_JUMPS = ("proxyjump", "proxycommand", "-j ", "-w ")
# The first line of YAML, a group: `all:`, or with a mapping in braces after it.
_YAML = re.compile(r"""(---|%YAML|\{|["']?[^\s:"'=\[\]]+["']?:(\s*(#.*)?$|\s+[{&!\[]))""")
_WRITE_VALUE = "write the value itself, or give the host's keys under hosts: in our own file"


@dataclass(frozen=True, slots=True)
class AnsibleInventory:
    """Hosts as plain data of our own `hosts`, and the hosts of each group.

    `positions` and `group_positions` lead to the first line of each host and group, `variables`
    holds the effective variables of each host, `findings` those that provision cannot honour: the
    `loc` of each is that of the key of our own file that would replace the variable.
    """

    hosts: Mapping[str, dict[str, Any]]
    groups: Mapping[str, list[str]]
    positions: Mapping[str, Position]
    group_positions: Mapping[str, Position]
    variables: Mapping[str, Variables]
    findings: tuple[Finding, ...]

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


def read(path: Path) -> AnsibleInventory:
    """Read an inventory in INI, YAML or JSON, or a folder of them.

    Raises FindingError if a file cannot be read.
    """
    tree = _tree(path)
    findings: list[Finding] = []
    folder = path if path.is_dir() else path.parent
    variables = _effective_variables(tree, folder, findings)
    hosts = {name: _host(name, variables[name], findings) for name in tree.order()}
    group_positions = {name: group.position for name, group in tree.groups.items()}
    return AnsibleInventory(
        hosts, _groups(tree), tree.positions, group_positions, variables, tuple(findings)
    )


def _tree(path: Path) -> Tree:
    if not path.is_dir():
        text = _text(path)
        return yaml.read(path, text) if _is_yaml(path, text) else ini.read(path, text)
    tree = Tree()
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise FindingError.at(Position(path), error.strerror or "cannot be read") from error
    for entry in entries:
        if not _IGNORED.search(entry.name):
            tree.add(_tree(entry))
    return tree


def _is_yaml(path: Path, text: str) -> bool:
    """True for YAML and JSON: by the first line that says something, else by the name."""
    lines = (line for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;")
    first = next(lines, "")
    if _YAML.match(first):
        return True
    return path.suffix in (".yml", ".yaml", ".json") and not first.startswith("[")


def _groups(tree: Tree) -> dict[str, list[str]]:
    groups = {name: list(tree.members(name)) for name in tree.groups if name != ALL}
    grouped = {host for name, hosts in groups.items() if name != UNGROUPED for host in hosts}
    groups[UNGROUPED] = [host for host in tree.order() if host not in grouped]
    return groups if groups[UNGROUPED] else {k: v for k, v in groups.items() if k != UNGROUPED}


def _text(path: Path) -> str:
    try:
        return files.read_regular(path, MAX_BYTES).decode()
    except BadValueError as error:
        raise FindingError.at(Position(path), error.message, error.hint) from error
    except UnicodeDecodeError as error:
        raise FindingError.at(Position(path), "this is not UTF-8", "save it as UTF-8") from error


def _effective_variables(tree: Tree, folder: Path, findings: list[Finding]) -> dict[str, Variables]:
    """Variables of each host by Ansible's precedence, the last wins.

    Groups in the file, group_vars, the host's own line, host_vars. A file that cannot be read is a
    finding about each host whose variables it has.
    """
    groups = tree.groups | {ALL: tree.groups.get(ALL) or tree.group(ALL, Position(folder))}
    group_vars = {name: _readable(folder / "group_vars", name) for name in groups}
    host_vars = folder / "host_vars"
    effective: dict[str, Variables] = {}
    groups_of = tree.groups_of_hosts()
    for host, line_variables in tree.hosts.items():
        merged: Variables = {}
        for name in groups_of[host]:
            merged |= groups[name].variables
            merged.pop("ansible_group_priority", None)  # a property of the group, not of its hosts
        files = [*(group_vars[name] for name in groups_of[host]), _readable(host_vars, host)]
        findings += (replace(finding, loc=("hosts", host)) for file in files for finding in file[1])
        for variables, _ in files[:-1]:
            merged |= variables
        effective[host] = merged | line_variables | files[-1][0]
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
        if "/" in name or not path.exists():
            continue
        variables: Variables = {}
        for file in _files(path) if path.is_dir() else (path,):
            variables |= yaml.variables(file, _text(file))
        return variables
    return {}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        elif path.suffix in _SUFFIXES and not path.name.startswith("."):
            yield path


def _host(name: str, variables: Variables, findings: list[Finding]) -> dict[str, Any]:
    """A host as data of our own `hosts`: `address` where it is known, and `ssh`."""
    mistakes: list[Finding] = list(_not_honoured(name, variables))
    target = _value(variables, "ansible_host", mistakes)
    ssh: dict[str, Any] = {
        "address": None if target is None else str(target),
        "port": _number(_value(variables, "ansible_port", mistakes)),
        "user": _value(variables, "ansible_user", mistakes),
        "key": _key_file(variables, mistakes),
        "sudo": _sudo(_value(variables, "ansible_become", mistakes)),
    }
    findings += (replace(finding, loc=("hosts", name, *finding.loc)) for finding in mistakes)
    login = {key: value for key, value in ssh.items() if value is not None}
    # Peers reach the host at ansible_host unless our own file has another address for them.
    reached = str(target or name)
    address = {"address": reached} if _is_address(reached) else {}
    return address | ({"ssh": login} if login else {})


def _key_file(variables: Variables, findings: list[Finding]) -> str | None:
    """Path of the private key, relative to the folder of the file that sets the variable."""
    name = "ansible_ssh_private_key_file"
    key, variable = _value(variables, name, findings), _variable(variables, name)
    if key is None or variable is None:
        return None
    try:
        return str(files.resolve(str(key), variable.position.path.parent))
    except BadValueError as error:
        message = f"{quoted(key)}: {error.message}"
        findings.append(Finding(_KEYS[name], message, error.hint, variable.position))
        return None


def _sudo(become: Any) -> bool | None:
    if become is None:
        return None
    # The values that Ansible takes for true (ansible.module_utils.parsing.convert_bool).
    return str(become).lower() in ("true", "yes", "on", "1", "y", "t")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _variable(variables: Variables, name: str) -> Value | None:
    names = (name, *_FORMER_NAMES.get(name, ()))
    return next((variables[name] for name in names if name in variables), None)


def _value(variables: Variables, name: str, findings: list[Finding]) -> Any:
    """The value of a variable; None where it is unset, and with a finding where it is unusable."""
    variable = _variable(variables, name)
    if variable is None:
        return None
    value = variable.value
    if isinstance(value, yaml.Opaque):
        message = f"{name} is a value only Ansible can read"
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        message = f"{name} is a template, {quoted(value)}, which only Ansible evaluates"
    else:
        return value
    findings.append(Finding(_KEYS[name], message, _WRITE_VALUE, variable.position))
    return None


def _not_honoured(host: str, variables: Variables) -> Iterator[Finding]:
    """Findings for variables that make Ansible reach the host in a way that provision does not."""
    for name in (name for name in _SSH_ARGUMENTS if name in variables):
        # Other options of ssh, such as those on host keys, are for provision to choose.
        if any(jump in str(variables[name].value).lower() for jump in _JUMPS):
            message = f"{name} of {host}, which leads through a jump host, is not read"
            hint = "put ProxyJump into ssh_config"
            yield Finding(("ssh", "jump"), message, hint, variables[name].position)
    supported = {
        "ansible_connection": ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"),
        "ansible_become_method": ("sudo", "ansible.builtin.sudo"),
        "ansible_become_user": ("root",),
    }
    for name, values in supported.items():
        variable = variables.get(name)
        if variable is not None and str(variable.value) not in values:
            value = quoted(variable.value)
            message = f"{name} of {host} is {value}; only {values[0]} is supported"
            hint = "leave this host out, or give it ssh: in our own file"
            yield Finding(_KEYS[name], message, hint, variable.position)

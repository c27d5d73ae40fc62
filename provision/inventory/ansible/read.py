"""An Ansible inventory's file and the variables beside it → hosts as our inventory has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from provision.inventory.ansible import ini, yaml
from provision.inventory.ansible.model import ALL, UNGROUPED, Misread, Spot, Tree, Value, Variables
from provision.model.fields import files as regular_file
from provision.model.findings import Wrong, quoted

LARGEST = 4 << 20
# Variable → its older names, which Ansible still reads.
_OLDER = {
    "ansible_host": ("ansible_ssh_host",),
    "ansible_port": ("ansible_ssh_port",),
    "ansible_user": ("ansible_ssh_user",),
    "ansible_ssh_private_key_file": ("ansible_private_key_file",),
}
_OPTIONS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_WAYS = ("proxyjump", "proxycommand", "-j ", "-w ")


@dataclass(frozen=True, slots=True)
class Found:
    """Hosts as plain data of our own `hosts`, groups by name, and where each host is written.

    `variables` are those that hold for each host; `problems` what we cannot follow.
    """

    hosts: Mapping[str, dict[str, Any]]
    groups: Mapping[str, list[str]]
    spots: Mapping[str, Spot]
    group_spots: Mapping[str, Spot]
    variables: Mapping[str, Variables]
    problems: tuple[Misread, ...]


def read(path: Path) -> Found:
    """The inventory of a file. Raises Misread at the first thing that cannot be read at all."""
    text = _text(path)
    form = yaml if path.suffix in (".yml", ".yaml", ".json") else ini
    tree = form.read(path, text)
    groups = {name: list(tree.members(name)) for name in tree.groups if name != ALL}
    inside = {host for name, hosts in groups.items() if name != UNGROUPED for host in hosts}
    groups[UNGROUPED] = [host for host in tree.order() if host not in inside]
    variables = _all_variables(tree, path.parent)
    problems: list[Misread] = []
    hosts = {name: _host(name, variables[name], problems) for name in tree.order()}
    filled = {name: members for name, members in groups.items() if members}
    group_spots = {name: group.spot for name, group in tree.groups.items()}
    # A problem of a group is told once, not for each of its hosts.
    told = {(problem.spot, problem.message.split(" of ")[0]): problem for problem in problems}
    return Found(hosts, filled, tree.spots, group_spots, variables, tuple(told.values()))


def _text(path: Path) -> str:
    try:
        return regular_file.content(path, LARGEST).decode()
    except Wrong as error:
        raise Misread(Spot(path, 0), error.message, error.hint) from error
    except UnicodeDecodeError as error:
        raise Misread(Spot(path, 0), "this is not UTF-8", "save it as UTF-8") from error


def _all_variables(tree: Tree, folder: Path) -> dict[str, Variables]:
    """By Ansible's precedence: groups in the file, group_vars, the host's line, host_vars."""
    groups = tree.groups | {ALL: tree.groups.get(ALL) or tree.group(ALL, Spot(folder, 0))}
    files = {name: _beside(folder / "group_vars", name) for name in groups}
    result: dict[str, Variables] = {}
    holders_of = tree.holders()
    for host, own in tree.hosts.items():
        holders = holders_of[host]
        merged: Variables = {}
        for name in holders:
            merged |= groups[name].variables
            merged.pop("ansible_group_priority", None)  # it is about the group
        for name in holders:
            merged |= files[name]
        result[host] = merged | own | _beside(folder / "host_vars", host)
    return result


def _beside(folder: Path, name: str) -> Variables:
    """Variables of one host or group: NAME, NAME.yml, …, or all files of a folder NAME."""
    found: Variables = {}
    for suffix in ("", ".yml", ".yaml", ".json"):
        path = folder / f"{name}{suffix}"
        if "/" in name or not path.exists():
            continue
        for file in _files(path) if path.is_dir() else (path,):
            found |= yaml.variables(file, _text(file))
        return found
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path)
        elif path.suffix in ("", ".yml", ".yaml", ".json") and not path.name.startswith("."):
            yield path


def _host(name: str, variables: Variables, problems: list[Misread]) -> dict[str, Any]:
    """What our own inventory would say of this host."""
    problems += _not_followed(name, variables)
    target = _value(variables, "ansible_host", problems)
    ssh: dict[str, Any] = {
        "address": None if target is None else str(target),
        "port": _number(_value(variables, "ansible_port", problems)),
        "user": _value(variables, "ansible_user", problems),
    }
    key = _value(variables, "ansible_ssh_private_key_file", problems)
    found = _named(variables, "ansible_ssh_private_key_file")
    if key is not None and found is not None:
        try:
            ssh["key"] = str(regular_file.named(str(key), found.spot.path.parent))
        except Wrong as error:
            problems.append(Misread(found.spot, f"{quoted(key)}: {error.message}", error.hint))
    become = _value(variables, "ansible_become", problems)
    if become is not None:
        ssh["sudo"] = str(become).lower() in ("true", "yes", "on", "1", "y", "t")
    given = {word: value for word, value in ssh.items() if value is not None}
    peers = {"address": str(target or name)} if _is_address(str(target or name)) else {}
    return peers | ({"ssh": given} if given else {})


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _named(variables: Variables, name: str) -> Value | None:
    names = (name, *_OLDER.get(name, ()))
    return next((variables[word] for word in names if word in variables), None)


def _value(variables: Variables, name: str, problems: list[Misread]) -> Any:
    found = _named(variables, name)
    if found is None:
        return None
    if isinstance(found.value, yaml.Opaque):
        problems.append(Misread(found.spot, f"{name} is a value only Ansible can read", _OWN))
        return None
    if isinstance(found.value, str) and ("{{" in found.value or "{%" in found.value):
        text = f"{name} is a template, {quoted(found.value)}, which only Ansible evaluates"
        problems.append(Misread(found.spot, text, _OWN))
        return None
    return found.value


_OWN = "write the value itself, or give the host's keys under our own hosts:"


def _not_followed(host: str, variables: Variables) -> Iterator[Misread]:
    """What Ansible would do otherwise than we: said, and not passed over in silence."""
    for name in (name for name in _OPTIONS if name in variables):
        # Other options, such as those on host keys, are ours to choose.
        if any(way in str(variables[name].value).lower() for way in _WAYS):
            text = f"{name} of {host} is not read, and leads through another host"
            yield Misread(variables[name].spot, text, "put ProxyJump into ssh_config")
    accepted = {
        "ansible_connection": ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"),
        "ansible_become_method": ("sudo", "ansible.builtin.sudo"),
        "ansible_become_user": ("root",),
    }
    for name, values in accepted.items():
        found = variables.get(name)
        if found is not None and str(found.value) not in values:
            text = f"{name} of {host} is {quoted(found.value)}; only {values[0]} is known here"
            yield Misread(found.spot, text, "leave this host out, or change the variable")

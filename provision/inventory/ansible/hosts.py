"""The hosts of an Ansible inventory as data of our own `hosts`: which variables count, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from provision.inventory.ansible import yaml
from provision.inventory.ansible.model import Value, Variables
from provision.model.fields import files, ssh_options
from provision.model.findings import BadValueError, Finding, Loc
from provision.model.text import quoted

# In the order in which Ansible hands them to ssh, where the first one that sets an option counts.
_SSH_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_PASSWORDS = (
    *("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
    *("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"),
)
# Variable → names that win over it: Ansible's plug-in `ssh` takes the last one of its list.
_STRONGER_NAMES = {
    "ansible_host": ("ansible_ssh_host",),
    "ansible_port": ("ansible_ssh_port",),
    "ansible_user": ("ansible_ssh_user",),
}
# As above, of names over which the variable itself wins.
_WEAKER_NAMES = {"ansible_ssh_private_key_file": ("ansible_private_key_file",)}
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
    **dict.fromkeys(_SSH_ARGUMENTS, ("ssh", "options")),
}
_WRITE_VALUE = "write the value itself, or give the host's keys under hosts: in our own file"


def host_data(name: str, variables: Variables, findings: list[Finding]) -> dict[str, Any]:
    """A host as data of our own `hosts`: `address` where it is known, and `ssh`."""
    mistakes: list[Finding] = list(_not_honoured(name, variables))
    target = _value(variables, "ansible_host", mistakes)
    ssh: dict[str, Any] = {
        "address": None if target is None else str(target),
        "port": _number(_value(variables, "ansible_port", mistakes)),
        "user": _value(variables, "ansible_user", mistakes),
        "key": _key_file(variables, mistakes),
        "sudo": _sudo(_value(variables, "ansible_become", mistakes)),
        "options": _options(name, variables, mistakes),
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


def _options(host: str, variables: Variables, findings: list[Finding]) -> str | None:
    """The options of ssh about the connection, of all variables that have some."""
    texts = []
    for name in _SSH_ARGUMENTS:
        text = _value(variables, name, findings)
        try:
            texts.append(ssh_options.ssh_options(str(text)) if text else "")
        except BadValueError as error:
            message = f"{name} of {host}: {error.message}"
            position = variables[name].position
            findings.append(Finding(_KEYS[name], message, error.hint, position))
    return " ".join(text for text in texts if text) or None


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
    is_number = isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value)
    return int(value) if is_number else value


def _variable(variables: Variables, name: str) -> Value | None:
    names = (*_STRONGER_NAMES.get(name, ()), name, *_WEAKER_NAMES.get(name, ()))
    return next((variables[name] for name in names if name in variables), None)


def _value(variables: Variables, name: str, findings: list[Finding]) -> Any:
    """The value of a variable; None where it is unset, and with a finding where it is unusable."""
    variable = _variable(variables, name)
    if variable is None:
        return None
    value = variable.value
    if isinstance(value, yaml.Opaque):
        message = f"{name} is a value only Ansible can read"
    elif _is_template(value):
        message = f"{name} is a template, {quoted(value)}, which only Ansible evaluates"
    else:
        return value
    findings.append(Finding(_KEYS[name], message, _WRITE_VALUE, variable.position))
    return None


def _not_honoured(host: str, variables: Variables) -> Iterator[Finding]:
    """Findings for variables that make Ansible reach the host in a way that provision does not."""
    supported = {
        "ansible_connection": ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"),
        "ansible_become_method": ("sudo", "ansible.builtin.sudo"),
        "ansible_become_user": ("root",),
    }
    become = variables.get("ansible_become")
    # Without it, nothing else about it counts. Only Ansible knows the value of a template.
    used = become is not None and (_is_template(become.value) or bool(_sudo(become.value)))
    for name, values in supported.items():
        variable = None if name.startswith("ansible_become") and not used else variables.get(name)
        if variable is not None and str(variable.value) not in values:
            value = quoted(variable.value)
            message = f"{name} of {host} is {value}; only {values[0]} is supported"
            hint = "leave this host out, or give it ssh: in our own file"
            yield Finding(_KEYS[name], message, hint, variable.position)


def notes(host: str, variables: Variables) -> Iterator[str]:
    """Lines about variables that have no effect."""
    for name in _PASSWORDS:
        if name in variables:
            effect = (
                "log in by a key"
                if "become" not in name and "sudo" not in name
                else ("give the user NOPASSWD in sudoers")
            )
            yield f"{variables[name].position}: {name} of {host} is not used: {effect}"


def only_by_ansible(variables: Variables) -> Iterator[str]:
    """The variables of the login that are templates or vaults."""
    others = (*_STRONGER_NAMES.values(), *_WEAKER_NAMES.values())
    for name in (*_KEYS, *(name for names in others for name in names)):
        if name in variables:
            value = variables[name].value
            if isinstance(value, yaml.Opaque) or _is_template(value):
                yield name


def _is_template(value: object) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)

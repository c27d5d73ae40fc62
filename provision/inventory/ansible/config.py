"""The ansible.cfg beside an inventory: its settings of the login, as variables of all hosts."""

from __future__ import annotations

import configparser
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from provision.inventory.ansible.model import Value, Variables
from provision.model.fields.files import file_type
from provision.model.findings import BadValueError, FindingError, Position

NAME = "ansible.cfg"
_VARIABLES = {
    ("defaults", "remote_user"): "ansible_user",
    ("defaults", "remote_port"): "ansible_port",
    ("defaults", "private_key_file"): "ansible_ssh_private_key_file",
    ("defaults", "transport"): "ansible_connection",
    ("privilege_escalation", "become"): "ansible_become",
    ("privilege_escalation", "become_method"): "ansible_become_method",
    ("privilege_escalation", "become_user"): "ansible_become_user",
    ("ssh_connection", "ssh_args"): "ansible_ssh_args",
    ("ssh_connection", "ssh_common_args"): "ansible_ssh_common_args",
    ("ssh_connection", "ssh_extra_args"): "ansible_ssh_extra_args",
}
"""Section and key → the variable with the same meaning."""


def find(folders: Sequence[Path]) -> Path | None:
    """The first ansible.cfg in one of these folders. Raises FindingError."""
    paths = (folder / NAME for folder in folders)
    return next((path for path in paths if type_of(path) == stat.S_IFREG), None)


def type_of(path: Path) -> int | None:
    """The file type bits of what a path leads to; None if nothing is there. Raises FindingError."""
    try:
        return file_type(path)
    except BadValueError as error:
        raise FindingError.at(Position(path), error.message, error.hint) from error


def variables(path: Path, text: str) -> Variables:
    """The variables that the settings stand for. Raises FindingError."""
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, inline_comment_prefixes=(";",)
    )
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", ())), (1,))[0]
        message = "this line cannot be read"
        raise FindingError.at(Position(path, line, 1), message, "write key = value") from error
    return {
        name: Value(
            _unquoted(key, parser[section][key]), Position(path, _line(text, section, key), 1)
        )
        for (section, key), name in _VARIABLES.items()
        if parser.has_option(section, key) and parser[section][key]
    }


def _unquoted(key: str, value: str) -> str:
    """The value without a pair of quotes, which Ansible leaves only around a path."""
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if is_quoted and key != "private_key_file" else value


def _line(text: str, section: str, key: str) -> int:
    """The number of the line that sets a key."""
    return next((number for number, name in _keys(text, section) if name == key), 1)


def _keys(text: str, section: str) -> Iterator[tuple[int, str]]:
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\[(.*)\]", line)
        if header:
            current = header[1]
        elif current == section:
            yield number, re.split(r"[=:]", line)[0].strip().lower()

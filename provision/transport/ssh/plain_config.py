"""ssh_config as paramiko parses it, where there is no ssh program to ask."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import paramiko

from provision.model.errors import UsageError
from provision.transport.ssh.destination import NO_FILE, SYSTEM, USER, Destination, Options

# The defaults of ssh_config(5).
_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")
_DEFAULTS: Options = {
    "port": ("22",),
    "identityfile": tuple(f"~/.ssh/{name}" for name in _KEYS),
    "userknownhostsfile": ("~/.ssh/known_hosts ~/.ssh/known_hosts2",),
    "globalknownhostsfile": ("/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",),
}


class PlainConfig:
    """One ssh_config; None: the user's and the system's."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._parsed: paramiko.SSHConfig | None = None

    def options(self, destination: Destination) -> Options:
        """The options of a destination. Raises UsageError for a file that paramiko refuses."""
        try:
            self._parsed = self._parsed or _parsed(self._path)
            with _some_name():
                values = self._parsed.lookup(destination.name)
        except (paramiko.SSHException, OSError, ValueError, KeyError) as error:
            # A KeyError: CanonicalizeHostname without CanonicalDomains.
            raise UsageError(
                f"{self._path or 'ssh_config'}: {error}",
                "correct it, or name another file by --ssh-config",
            ) from error
        return _options(dict(values), destination)


def _options(parsed: Mapping[str, Any], destination: Destination) -> Options:
    values = {
        keyword: tuple(value) if isinstance(value, list) else (str(value),)
        for keyword, value in parsed.items()
    }
    inventory = {
        "user": destination.user,
        "port": destination.port,
        "hostname": destination.address,
        "proxyjump": destination.jump,
    }
    ours: Options = {keyword: (str(value),) for keyword, value in inventory.items() if value}
    ours = _of_command_line(destination.options) | ours
    if destination.jump:
        values.pop("proxycommand", None)
    options: Options = _DEFAULTS | values | ours
    return options if "user" in options else {"user": (_local_user(),)} | options


def _of_command_line(arguments: tuple[str, ...]) -> Options:
    """The options that are written `-o KEYWORD=VALUE`; the first of each counts."""
    options: Options = {}
    for flag, text in pairwise(arguments):
        match = re.match(r"\s*(\w+)\s*[=\s]\s*(.*)", text)
        if flag == "-o" and match:
            options.setdefault(match[1].lower(), (match[2],))
    return options


@contextmanager
def _some_name() -> Iterator[None]:
    """Give a user without a name its number for one, since paramiko looks the name up at once."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())
    else:
        yield
        return
    try:
        yield
    finally:
        del os.environ["LOGNAME"]


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("this user has no name", "set ssh.user in the inventory") from error


def _parsed(path: Path | None) -> paramiko.SSHConfig:
    config = paramiko.SSHConfig()
    files = [Path.home() / USER, SYSTEM] if path is None else [path]
    for file in files:
        if file != NO_FILE and (path is not None or file.is_file()):
            with file.open(errors="replace") as lines:
                config.parse(lines)
    return config

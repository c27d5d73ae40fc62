"""Recorded host keys: read them from known_hosts files, and accept no other key."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import paramiko
from fabric import Connection

from provision.transport.ssh.errors import UnknownKey

# The defaults of ssh_config(5).
_FILES = {
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
}


def pin(connection: Connection, keys: Iterable[paramiko.PKey]) -> None:
    """Make a connection accept these host keys only."""
    client = connection.client
    client.set_missing_host_key_policy(_Refuse())  # instead of fabric's AutoAddPolicy
    for key in keys:
        client.get_host_keys().add(known_hosts_name(connection), key.get_name(), key)


def parsed(line: str) -> paramiko.PKey:
    """The key of a `host_key:` in an inventory, whose form the loader has checked."""
    kind, text = line.split()[:2]
    return paramiko.PKey.from_type_string(kind, b64decode(text))


def recorded(
    names: Iterable[str], config: Mapping[str, Any], project_file: Path | None
) -> list[paramiko.PKey]:
    """The keys of the first of `names` that has any in the known_hosts files of an ssh_config."""
    listed = " ".join(str(config.get(option, files)) for option, files in _FILES.items()).split()
    paths = [Path(path).expanduser() for path in listed]
    paths += [project_file] if project_file else []
    known = [_read(path, path.stat().st_mtime_ns) for path in paths if path.is_file()]
    for name in names:
        entries = [entry for keys in known if (entry := keys.lookup(name))]
        if entries:
            return [key for entry in entries for key in entry.values()]
    return []


@cache
def _read(path: Path, _mtime_ns: int) -> paramiko.HostKeys:
    # Cached: each of 50 hosts would parse the same file with 50 keys.
    return paramiko.HostKeys(str(path))


def known_hosts_name(connection: Connection) -> str:
    """The host's name in known_hosts, see sshd(8): `[host]:port` unless the port is 22."""
    host, port = connection.host, connection.port
    return str(host) if port == 22 else f"[{host}]:{port}"


def fingerprint(key: paramiko.PKey) -> str:
    """The key's fingerprint as `ssh-keygen -l` prints it."""
    return "SHA256:" + b64encode(sha256(key.asbytes()).digest()).decode().rstrip("=")


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Refuses a host that has no recorded key."""

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        raise UnknownKey(f"its host key is not recorded: {key.get_name()} {fingerprint(key)}")

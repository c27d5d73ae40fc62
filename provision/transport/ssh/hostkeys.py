"""Recorded host keys: which files hold them, and that no other key is accepted."""

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

_FILES = {
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
}


def pin(connection: Connection, keys: Iterable[paramiko.PKey]) -> None:
    """Accept these keys only from a host."""
    client = connection.client
    client.set_missing_host_key_policy(_Refuse())
    for key in keys:
        client.get_host_keys().add(key_name(connection), key.get_name(), key)


def given(line: str) -> paramiko.PKey:
    """The key of `host_key:` in an inventory, which the loader has checked."""
    kind, text = line.split()[:2]
    return paramiko.PKey.from_type_string(kind, b64decode(text))


def recorded(
    names: Iterable[str], config: Mapping[str, Any], own: Path | None
) -> list[paramiko.PKey]:
    """Keys on record under the first of `names` that has any, in the files of an ssh_config."""
    words = " ".join(str(config.get(name, usual)) for name, usual in _FILES.items()).split()
    files = [*(Path(word).expanduser() for word in words), *((own,) if own else ())]
    known = [_read(path, path.stat().st_mtime_ns) for path in files if path.is_file()]
    for name in names:
        found = [entry for keys in known if (entry := keys.lookup(name))]
        if found:
            return [key for entry in found for key in entry.values()]
    return []


@cache
def _read(path: Path, _changed_at: int) -> paramiko.HostKeys:
    # Once a run: with 50 hosts on record each of them would read 50 keys.
    return paramiko.HostKeys(str(path))


def key_name(connection: Connection) -> str:
    """How known_hosts calls a host."""
    host, port = connection.host, connection.port
    return str(host) if port == 22 else f"[{host}]:{port}"


def fingerprint(key: paramiko.PKey) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + b64encode(sha256(key.asbytes()).digest()).decode().rstrip("=")


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        raise UnknownKey(f"its host key is not known: {key.get_name()} {fingerprint(key)}")

"""The host key that a host offers before login, for `provision trust` to record."""

from __future__ import annotations

from dataclasses import dataclass

from provision.transport.ssh.hop import PATIENCE_S, HopConnection
from provision.transport.ssh.hostkeys import (
    HostKeyTransport,
    Status,
    fingerprint,
    known_hosts_name,
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A key as offered: `host` is its name in the inventory or ssh_config, `name` in known_hosts.

    `line` is the line for known_hosts, `recorded_in` are the lines with other keys (FILE:NUMBER).
    """

    host: str
    name: str
    kind: str
    fingerprint: str
    line: str
    status: Status
    recorded_in: tuple[str, ...] = ()


def offer(connection: HopConnection) -> Offer:
    """The key that the host of a connection offers; the keys of its jump hosts must be recorded.

    Raises the exceptions of paramiko and socket.
    """
    with HostKeyTransport(connection.socket(), connection.recorded) as transport:
        transport.banner_timeout = PATIENCE_S
        transport.start_client(timeout=PATIENCE_S)
        key = transport.get_remote_server_key()
    name = known_hosts_name(connection.endpoint)
    status = connection.recorded.status(key)
    line = f"{name} {key.get_name()} {key.get_base64()}"
    host = connection.endpoint.name
    lines = connection.recorded.lines if status == "changed" else ()
    return Offer(host, name, key.get_name(), fingerprint(key), line, status, lines)

"""The host key that a host shows, before anybody logs in: what `provision trust` asks about."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal

import paramiko
from fabric import Connection

from provision.transport.ssh.errors import CONNECT_S
from provision.transport.ssh.hostkeys import fingerprint, key_name

Status = Literal["known", "new", "changed"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A key as shown. `host` is what the user calls it, `name` what known_hosts calls it."""

    host: str
    name: str
    kind: str
    fingerprint: str
    line: str
    status: Status


def offered(connection: Connection, host: str) -> Offer:
    """What the far end of a connection shows; its jump hosts must be known already.

    Raises what paramiko and the system raise.
    """
    recorded = connection.client.get_host_keys().lookup(key_name(connection)) or {}
    behind = bool(connection.gateway)
    address = (connection.host, int(connection.port))
    sock = connection.open_gateway() if behind else socket.create_connection(address, CONNECT_S)
    with paramiko.Transport(sock) as transport:
        options = transport.get_security_options()
        same = [kind for kind in options.key_types if kind in recorded]
        if same:  # a key of another kind would say nothing about the recorded one
            options.key_types = same
        transport.start_client(timeout=CONNECT_S)
        key = transport.get_remote_server_key()
    known = recorded.get(key.get_name()) == key
    status: Status = "known" if known else "changed" if recorded else "new"
    name = key_name(connection)
    line = f"{name} {key.get_name()} {key.get_base64()}"
    return Offer(host, name, key.get_name(), fingerprint(key), line, status)

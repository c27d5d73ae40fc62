"""The host key that a host offers before login, for `provision trust` to record."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Literal

import paramiko
from fabric import Connection

from provision.transport.ssh.errors import CONNECT_S
from provision.transport.ssh.hostkeys import fingerprint, known_hosts_name

Status = Literal["known", "new", "changed"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A key as offered: `host` is its name in the inventory or ssh_config, `name` in known_hosts.

    `line` is the line for known_hosts.
    """

    host: str
    name: str
    kind: str
    fingerprint: str
    line: str
    status: Status


def offer(connection: Connection, host: str) -> Offer:
    """The key that the host of a connection offers; the keys of its jump hosts must be recorded.

    Raises the exceptions of paramiko and socket.
    """
    name = known_hosts_name(connection)
    recorded = connection.client.get_host_keys().lookup(name) or {}
    address = (connection.host, int(connection.port))
    behind_jump_host = bool(connection.gateway)
    sock = (
        connection.open_gateway()
        if behind_jump_host
        else socket.create_connection(address, CONNECT_S)
    )
    with paramiko.Transport(sock) as transport:
        options = transport.get_security_options()
        # Ask for the kinds that are recorded: a host has keys of several kinds, and one of
        # another kind could not be compared with the record.
        kinds = [kind for kind in options.key_types if kind in recorded]
        if kinds:
            options.key_types = kinds
        transport.start_client(timeout=CONNECT_S)
        key = transport.get_remote_server_key()
    known = recorded.get(key.get_name()) == key
    status: Status = "known" if known else "changed" if recorded else "new"
    line = f"{name} {key.get_name()} {key.get_base64()}"
    return Offer(host, name, key.get_name(), fingerprint(key), line, status)

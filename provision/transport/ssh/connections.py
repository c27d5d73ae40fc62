"""Connections to hosts, by the inventory's `ssh:` first, then ssh_config, then the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any

import paramiko
from fabric import Config, Connection

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.transport.ssh import config as ssh_config
from provision.transport.ssh import hostkeys
from provision.transport.ssh.channel import CHANNEL_S
from provision.transport.ssh.errors import CONNECT_S

BANNER_S, AUTH_S = 10.0, 15.0


class Connections:
    """Makes connections, not yet open, by one ssh_config.

    `path`: an ssh_config; None: the user's and the system's. `known_hosts`: the project's own
    file of host keys.
    """

    def __init__(self, path: Path | None, known_hosts: Path | None = None) -> None:
        try:
            parsed = paramiko.SSHConfig.from_file(StringIO(ssh_config.text(path)))
        except paramiko.ConfigParseError as error:
            file = path or f"{ssh_config.USER} or {ssh_config.SYSTEM}"
            raise UsageError(
                f"{file}: {error}", "correct it, or name another file by --ssh-config"
            ) from error
        self._config = Config(ssh_config=parsed)
        self._known_hosts = known_hosts
        self._options: dict[str, dict[str, Any]] = {}
        self._lock = Lock()

    def to(self, host: Host) -> Connection:
        """A connection to a host, which accepts only the recorded keys of every hop."""
        with self._lock:  # cloning fabric's Config is not thread-safe
            return self._to(host)

    def _to(self, host: Host) -> Connection:
        ssh, options = host.ssh, self._lookup(host.name)
        # HostName of ssh_config where it has one, else the address: host names of the inventory
        # need not be in DNS.
        target = options.pop("hostname")
        if ssh.address is not None:
            options |= self._lookup(ssh.address)
            target = options.pop("hostname")
        elif target == host.name:
            target = str(host.address)
        gateway = self._gateway(ssh.jump, options)
        connection = self._connection(target, options, ssh.user, ssh.port, gateway, key=ssh.key)
        if host.host_key:
            hostkeys.pin(connection, (hostkeys.parsed(host.host_key),))
        else:
            self._pin(connection, options, host.name)
        return connection

    def _connection(
        self,
        target: str,
        options: dict[str, Any],
        user: str | None,
        port: int | str | None,
        gateway: Connection | str | None,
        *,
        key: Path | None = None,
    ) -> Connection:
        return Connection(
            target,
            user=user or options.get("user"),
            port=int(port or options.get("port", 22)),
            # A clone for each connection: its own thread opens it and writes to it.
            config=self._config.clone(),
            connect_timeout=CONNECT_S,
            connect_kwargs=_auth_options(options, key),
            # False, not None: with None fabric would read ProxyJump from ssh_config by itself,
            # and would connect to that jump host without checking its key.
            gateway=gateway or False,
        )

    def _pin(self, connection: Connection, options: dict[str, Any], name: str) -> None:
        names = (hostkeys.known_hosts_name(connection), options.get("hostkeyalias", name))
        hostkeys.pin(connection, hostkeys.recorded(names, options, self._known_hosts))

    def ignored_options(self, host: Host) -> tuple[str, ...]:
        """Options that ssh_config sets for a host and that provision does not follow."""
        with self._lock:
            options = self._lookup(host.name)
        off = ("no", "none")
        return tuple(
            option for option in ssh_config.IGNORED if options.get(option, "no").lower() not in off
        )

    def _lookup(self, name: str) -> dict[str, Any]:
        # Cached: a lookup evaluates all of ssh_config and may run commands (`Match exec`).
        if name not in self._options:
            self._options[name] = dict(self._config.base_ssh_config.lookup(name))
        return dict(self._options[name])

    def _gateway(self, jump: str | None, options: dict[str, Any]) -> Connection | str | None:
        """The last jump host, itself reached through the ones before it; or a ProxyCommand."""
        jumps = jump or options.get("proxyjump", "none")
        if jumps == "none":
            command = options.get("proxycommand", "none")
            return None if command == "none" else str(command)
        gateway: Connection | str | None = None
        for hop in str(jumps).split(","):
            gateway = self._hop(hop, gateway)
        return gateway

    def _hop(self, text: str, previous: Connection | str | None) -> Connection:
        """A connection to a jump host, given as [USER@]HOST[:PORT]."""
        user, _, address = text.rpartition("@")
        name, _, port = address.partition(":")
        options = self._lookup(name)
        gateway = previous or self._gateway(None, options)
        connection = self._connection(options["hostname"], options, user, port, gateway)
        self._pin(connection, options, name)
        return connection


def hops(connection: Connection) -> Iterator[Connection]:
    """The connection itself, then its jump hosts, the one next to the host first."""
    hop: Any = connection
    while isinstance(hop, Connection):
        yield hop
        hop = hop.gateway


def _auth_options(options: dict[str, Any], key: Path | None) -> dict[str, Any]:
    """Arguments for paramiko's `SSHClient.connect`."""
    arguments: dict[str, Any] = {
        "banner_timeout": BANNER_S,
        "auth_timeout": AUTH_S,
        "channel_timeout": CHANNEL_S,
        "allow_agent": options.get("identityagent", "").lower() != "none",
    }
    listed = [Path(path).expanduser() for path in options.get("identityfile", [])]
    keys = [key] if key else [path for path in listed if path.is_file()]
    if keys:
        # Without look_for_keys=False paramiko also tries ~/.ssh/id_*, and each attempt counts
        # towards sshd's MaxAuthTries (6).
        arguments |= {"key_filename": [str(path) for path in keys], "look_for_keys": False}
    return arguments

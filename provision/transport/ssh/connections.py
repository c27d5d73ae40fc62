"""How a host is reached: the inventory's words, else ssh_config's, else the defaults."""

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


class Ways:
    """Connections, not yet open, by one ssh_config; `known_hosts` is the project's own file."""

    def __init__(self, path: Path | None, known_hosts: Path | None = None) -> None:
        try:
            parsed = paramiko.SSHConfig.from_file(StringIO(ssh_config.text(path)))
        except paramiko.ConfigParseError as error:
            where = path or "the user's or the system's ssh_config"
            raise UsageError(
                f"{where}: {error}", "mend it, or name another: --ssh-config"
            ) from error
        self._config = Config(ssh_config=parsed)
        self._known_hosts = known_hosts
        self._named: dict[str, dict[str, Any]] = {}
        self._lock = Lock()

    def to(self, host: Host) -> Connection:
        """The connection to a managed host, with every hop's keys pinned."""
        with self._lock:  # fabric's Config is not made for threads: it is emptied and filled anew
            return self._to(host)

    def _to(self, host: Host) -> Connection:
        ssh, named = host.ssh, self._lookup(host.name)
        # ssh_config's HostName where there is one, else the address: its names need no DNS.
        target = named.pop("hostname")
        if ssh.address is not None:
            named |= self._lookup(ssh.address)
            target = named.pop("hostname")
        elif target == host.name:
            target = str(host.address)
        gateway = self._gateway(ssh.jump, named)
        connection = self._connection(target, named, ssh.user, ssh.port, gateway, key=ssh.key)
        if host.host_key:
            hostkeys.pin(connection, (hostkeys.given(host.host_key),))
        else:
            self._pin(connection, named, host.name)
        return connection

    def _connection(
        self,
        target: str,
        named: dict[str, Any],
        user: str | None,
        port: int | str | None,
        gateway: Connection | str | None,
        *,
        key: Path | None = None,
    ) -> Connection:
        return Connection(
            target,
            user=user or named.get("user"),
            port=int(port or named.get("port", 22)),
            # One for each: while one connection is made, another may be opened by its own thread.
            config=self._config.clone(),
            connect_timeout=CONNECT_S,
            connect_kwargs=_login(named, key),
            # False: else fabric would look for a jump host of its own, whose key nobody pins.
            gateway=gateway or False,
        )

    def _pin(self, connection: Connection, named: dict[str, Any], name: str) -> None:
        names = (hostkeys.key_name(connection), named.get("hostkeyalias", name))
        hostkeys.pin(connection, hostkeys.recorded(names, named, self._known_hosts))

    def unread(self, host: Host) -> tuple[str, ...]:
        """Options that hold for a host and that are not used."""
        with self._lock:
            named = self._lookup(host.name)
        off = ("no", "none")
        return tuple(word for word in ssh_config.UNREAD if named.get(word, "no").lower() not in off)

    def _lookup(self, name: str) -> dict[str, Any]:
        # Kept, as it goes through all of ssh_config and may run commands (`Match exec`).
        if name not in self._named:
            self._named[name] = dict(self._config.base_ssh_config.lookup(name))
        return dict(self._named[name])

    def _gateway(self, jump: str | None, named: dict[str, Any]) -> Connection | str | None:
        """The nearest jump host, behind which the others are; or a ProxyCommand."""
        jumps = jump or named.get("proxyjump", "none")
        if jumps == "none":
            command = named.get("proxycommand", "none")
            return None if command == "none" else str(command)
        last: Connection | str | None = None
        for hop in str(jumps).split(","):
            last = self._hop(hop, last)
        return last

    def _hop(self, text: str, before: Connection | str | None) -> Connection:
        user, _, place = text.rpartition("@")
        name, _, port = place.partition(":")
        named = self._lookup(name)
        gateway = before or self._gateway(None, named)
        connection = self._connection(named["hostname"], named, user, port, gateway)
        self._pin(connection, named, name)
        return connection


def hops(connection: Connection) -> Iterator[Connection]:
    """The connection itself, then its jump hosts, the nearest to it first."""
    hop: Any = connection
    while isinstance(hop, Connection):
        yield hop
        hop = hop.gateway


def _login(named: dict[str, Any], key: Path | None) -> dict[str, Any]:
    """How paramiko is to log in."""
    options: dict[str, Any] = {
        "banner_timeout": BANNER_S,
        "auth_timeout": AUTH_S,
        "channel_timeout": CHANNEL_S,
        "allow_agent": named.get("identityagent", "").lower() != "none",
    }
    listed = [Path(path).expanduser() for path in named.get("identityfile", [])]
    keys = [key] if key else [path for path in listed if path.is_file()]
    if keys:
        options |= {"key_filename": [str(path) for path in keys], "look_for_keys": False}
    return options

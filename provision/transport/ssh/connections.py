"""Connections to hosts, by the inventory's `ssh:` first, then ssh_config, then the defaults."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import paramiko
from fabric import Config, Connection

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.transport.ssh import endpoint as endpoints
from provision.transport.ssh import hostkeys, known_hosts
from provision.transport.ssh.authentication import Login
from provision.transport.ssh.channel import CHANNEL_S
from provision.transport.ssh.endpoint import SshEndpoint
from provision.transport.ssh.errors import CONNECT_S
from provision.transport.ssh.hostkeys import HostKeyTransport, RecordedKeys
from provision.transport.ssh.openssh import ClientConfig

BANNER_S, AUTH_S = 10.0, 15.0


class HopConnection(Connection):  # type: ignore[misc]
    """A connection to an endpoint, not yet open, that accepts only its recorded host keys.

    All values come from the endpoint: fabric has no ssh_config in which it could look up a name.
    """

    def __init__(
        self,
        endpoint: SshEndpoint,
        recorded: RecordedKeys,
        login: Login,
        config: Config,
        gateway: HopConnection | str | None,
    ) -> None:
        super().__init__(
            endpoint.hostname,
            user=endpoint.user,
            port=endpoint.port,
            config=config,
            connect_timeout=CONNECT_S,
            connect_kwargs={
                "banner_timeout": BANNER_S,
                "auth_timeout": AUTH_S,
                "channel_timeout": CHANNEL_S,
                "transport_factory": partial(HostKeyTransport, recorded=recorded),
                "auth_strategy": login,
            },
            # False, not None: with None fabric would look for a gateway by itself.
            gateway=gateway or False,
        )
        self._set(endpoint=endpoint, recorded=recorded, login=login)
        # Instead of fabric's AutoAddPolicy.
        self.client.set_missing_host_key_policy(hostkeys.HostKeyCheck(recorded))

    def open_gateway(self) -> Any:
        """A channel of the jump host, or the ProxyCommand as ssh starts it."""
        if isinstance(self.gateway, str):
            shell = os.environ.get("SHELL") or "/bin/sh"
            return paramiko.ProxyCommand(shlex.join((shell, "-c", f"exec {self.gateway}")))
        return super().open_gateway()


class Connections:
    """Makes connections, not yet open, by one ssh_config.

    `known_hosts`: the project's own file of host keys.
    """

    def __init__(self, config: ClientConfig, known_hosts: Path | None = None) -> None:
        self.client_config = config
        # Without a parser of ssh_config, and without /etc/fabric.yml and ~/.fabric.yml, where
        # another login or a password may be set.
        self._config = Config(ssh_config=paramiko.SSHConfig(), lazy=True)
        self._known_hosts = known_hosts
        self._lock = Lock()

    def endpoint(self, host: Host) -> SshEndpoint:
        """The endpoint of a host. Raises UsageError for an ssh_config that cannot be used."""
        return endpoints.of_host(self.client_config, host)

    def to(self, host: Host) -> HopConnection:
        """A connection to a host, which accepts only the recorded keys of every hop."""
        endpoint = self.endpoint(host)
        gateway = self._gateway(endpoint, (endpoint,))
        recorded = hostkeys.pinned(host.host_key) if host.host_key else self._recorded(endpoint)
        return self._connection(endpoint, recorded, gateway, key=host.ssh.key)

    def damaged_lines(self, endpoint: SshEndpoint) -> dict[Path, tuple[int, ...]]:
        """The numbers of lines that cannot be read, by the known_hosts files of an endpoint."""
        paths = hostkeys.files(endpoint, self._known_hosts)
        numbers = {path: known_hosts.read(path).damaged for path in paths}
        return {path: lines for path, lines in numbers.items() if lines}

    def _connection(
        self,
        endpoint: SshEndpoint,
        recorded: RecordedKeys,
        gateway: HopConnection | str | None,
        *,
        key: Path | None = None,
    ) -> HopConnection:
        login = Login(
            endpoint.user,
            files=(key,) if key else endpoint.key_files,
            agent=endpoint.first("identityagent", "").lower() != "none",
            only_files=endpoint.first("identitiesonly") == "yes",
        )
        with self._lock:  # cloning fabric's Config is not thread-safe
            # A clone for each connection: its own thread opens it and writes to it.
            config = self._config.clone()
        return HopConnection(endpoint, recorded, login, config, gateway)

    def _recorded(self, endpoint: SshEndpoint) -> RecordedKeys:
        return hostkeys.recorded(endpoint, self._known_hosts)

    def _gateway(
        self, endpoint: SshEndpoint, behind: tuple[SshEndpoint, ...]
    ) -> HopConnection | str | None:
        """The last jump host, itself reached through the ones before it; or a ProxyCommand."""
        if not endpoint.jumps:
            return endpoint.proxy_command
        gateway: HopConnection | str | None = None
        for number, text in enumerate(endpoint.jumps):
            hop = endpoints.of_jump_host(self.client_config, text)
            if hop in behind:
                raise UsageError(
                    f"the jump hosts of {behind[0].name} lead back to {hop.name}",
                    f"set `ProxyJump none` for {hop.name} in ssh_config",
                )
            if number == 0:  # as for `ssh -J`, only the first hop's own jump hosts count
                gateway = self._gateway(hop, (*behind, hop))
            gateway = self._connection(hop, self._recorded(hop), gateway)
        return gateway


def hops(connection: HopConnection) -> Iterator[HopConnection]:
    """The connection itself, then its jump hosts, the one next to the host first."""
    hop: Any = connection
    while isinstance(hop, HopConnection):
        yield hop
        hop = hop.gateway

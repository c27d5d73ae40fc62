"""Connections to hosts, by the inventory's `ssh:` first, then ssh_config, then the defaults."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, cast

import paramiko
from fabric import Config
from paramiko.ssh_exception import IncompatiblePeer

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.transport.ssh import endpoint as endpoints
from provision.transport.ssh import hostkeys, known_hosts
from provision.transport.ssh.agents import agent
from provision.transport.ssh.authentication import Login
from provision.transport.ssh.client_choice import reason_for_openssh
from provision.transport.ssh.destination import ANY, Options
from provision.transport.ssh.endpoint import SshEndpoint
from provision.transport.ssh.errors import JumpHostError
from provision.transport.ssh.hop import PATIENCE_S, HopConnection, Proxy, hops
from provision.transport.ssh.hostkeys import RecordedKeys
from provision.transport.ssh.master import Master
from provision.transport.ssh.master_config import MasterSettings
from provision.transport.ssh.openssh import ClientConfig
from provision.transport.ssh.sessions import HostConnection
from provision.transport.ssh.shared import Shared

_LONGEST_FOLDER = 60
"""The path of a socket has at most 107 characters, of which ssh needs some for a new one."""


class _NoSshConfig(paramiko.SSHConfig):
    """An ssh_config for fabric: paramiko's would also look up the name of the user."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:  # noqa: ARG002
        """The options of a host: none."""
        return paramiko.SSHConfigDict()


class Connections:
    """Makes connections, not yet open, by one ssh_config.

    `known_hosts`: the project's own file of host keys. `patience_s` bounds each step of a login.
    """

    def __init__(self, config: ClientConfig, known_hosts: Path | None = None) -> None:
        self.client_config = config
        self.patience_s = PATIENCE_S
        # Without a parser of ssh_config, and without /etc/fabric.yml and ~/.fabric.yml, where
        # another login or a password may be set.
        self._config = Config(ssh_config=paramiko.SSHConfig(), lazy=True)
        self._known_hosts = known_hosts
        self._lock = Lock()
        self._jump_hosts: dict[tuple[object, ...], Shared[Any]] = {}
        self._reasons: dict[str, str | None] = {}
        """Host → the reason why the ssh program connects to it."""
        self._folder: Path | None = None
        self._numbers = count()

    def endpoint(self, host: Host) -> SshEndpoint:
        """The endpoint of a host. Raises UsageError for an ssh_config that cannot be used."""
        return endpoints.of_host(self.client_config, host)

    def to(self, host: Host) -> HostConnection:
        """A connection to a host, which accepts only the recorded keys of every hop."""
        endpoint = self.endpoint(host)
        proxy = self._proxy(endpoint, (endpoint,), openssh=self.uses_openssh(host))
        recorded = self.recorded(endpoint, host)
        if self.uses_openssh(host):
            return self._master(endpoint, recorded, proxy, host.ssh.key)
        return self._connection(endpoint, recorded, proxy, host.ssh.key)

    def chain(self, host: Host) -> Iterator[HopConnection]:
        """Connections of paramiko, which may ask for host keys: the jump hosts, then the host."""
        openssh = self.uses_openssh(host)
        endpoint = self.endpoint(host)
        jump_hosts = list(self._hops(endpoint, (endpoint,)))
        proxy: Proxy = (jump_hosts or [endpoint])[0].proxy_command
        for hop in jump_hosts:
            yield self._connection(hop, self.recorded(hop), proxy)
            proxy = self._shared(hop, proxy, openssh=openssh)
        yield self._connection(endpoint, self.recorded(endpoint, host), proxy)

    def uses_openssh(self, host: Host) -> bool:
        """True if the ssh program connects to the host and to its jump hosts."""
        if host.name not in self._reasons:
            self._reasons[host.name] = self._reason_for_openssh(host)
        return self._reasons[host.name] is not None

    def _reason_for_openssh(self, host: Host) -> str | None:
        """The reason why the ssh program connects to a host; None: paramiko does.

        Raises UsageError if the inventory asks for ssh and there is none.
        """
        if host.ssh.client == "openssh" and self.client_config.program is None:
            raise UsageError(
                f"{host.name} has `client: openssh`, and there is no ssh program",
                "install openssh-client, or write client: auto",
            )
        if host.ssh.client != "auto" or self.client_config.program is None:
            return "ssh.client in the inventory" if host.ssh.client == "openssh" else None
        endpoint = self.endpoint(host)
        key = (host.ssh.key,) if host.ssh.key else self._named(endpoint)
        reason = reason_for_openssh(endpoint, key, self._defaults)
        for hop in self._hops(endpoint, (endpoint,)):
            reason = reason or reason_for_openssh(hop, self._named(hop), self._defaults)
        return reason

    def instead(
        self, host: Host, connection: HostConnection, error: Exception
    ) -> HostConnection | None:
        """A connection by ssh where paramiko's has failed for want of an algorithm or a key."""
        usable = host.ssh.client == "auto" and self.client_config.program is not None
        if not (usable and isinstance(connection, HopConnection) and _lacks(connection, error)):
            return None
        self._reasons[host.name] = str(error)
        return self.to(host)

    def recorded(self, endpoint: SshEndpoint, host: Host | None = None) -> RecordedKeys:
        """The keys of an endpoint; a host's own `host_key` replaces all others."""
        if host and host.host_key:
            return hostkeys.pinned(host.host_key)
        return hostkeys.recorded(endpoint, self._known_hosts)

    def damaged_lines(self, endpoint: SshEndpoint) -> dict[Path, tuple[int, ...]]:
        """The numbers of lines that cannot be read, by the known_hosts files of an endpoint."""
        paths = hostkeys.files(endpoint, self._known_hosts)
        numbers = {path: known_hosts.read(path).damaged for path in paths}
        return {path: lines for path, lines in numbers.items() if lines}

    def close(self) -> None:
        """Close the connections to jump hosts, which hosts share, and delete the files of ssh."""
        with self._lock:
            shared, self._jump_hosts = self._jump_hosts, {}
            folder, self._folder = self._folder, None
        for jump_host in shared.values():
            jump_host.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _connection(
        self,
        endpoint: SshEndpoint,
        recorded: RecordedKeys,
        proxy: Proxy,
        key: Path | None = None,
    ) -> HopConnection:
        login = Login(
            endpoint.user,
            files=(key,) if key else endpoint.key_files,
            agent=agent(endpoint.agent),
            only_files=endpoint.first("identitiesonly") == "yes",
            named=() if key else self._named(endpoint),
        )
        with self._lock:  # cloning fabric's Config is not thread-safe
            # A clone for each connection: its own thread opens it and writes to it.
            config = self._config.clone()
            config.base_ssh_config = _NoSshConfig()
        return HopConnection(endpoint, recorded, login, config, proxy, self.patience_s)

    def _master(
        self,
        endpoint: SshEndpoint,
        recorded: RecordedKeys,
        proxy: Proxy,
        key: Path | None = None,
    ) -> Master:
        settings = MasterSettings(
            endpoint, key, (key,) if key else self._named(endpoint), self._defaults
        )
        program = self.client_config.program
        assert program is not None
        assert not (isinstance(proxy, Shared) and isinstance(proxy.connection, HopConnection))
        base = self._new_folder() / str(next(self._numbers))
        by_ssh = cast("Shared[Master] | str | None", proxy)
        return Master(program, base, settings, recorded, by_ssh, self.patience_s)

    def _new_folder(self) -> Path:
        """The folder of the masters' sockets, which only this user can enter."""
        with self._lock:
            if self._folder is None:
                short = len(tempfile.gettempdir()) <= _LONGEST_FOLDER
                folder = tempfile.mkdtemp(prefix="provision-ssh-", dir=None if short else "/tmp")
                self._folder = Path(folder)
            return self._folder

    @property
    def _defaults(self) -> Options:
        """The options that OpenSSH has without any file."""
        return self.client_config.without_file.options(ANY)

    def _named(self, endpoint: SshEndpoint) -> tuple[Path, ...]:
        """The key files that ssh_config names; none if they are those of OpenSSH's defaults."""
        names = endpoint.options.get("identityfile")
        return () if names == self._defaults.get("identityfile") else endpoint.key_files

    def _proxy(
        self, endpoint: SshEndpoint, behind: tuple[SshEndpoint, ...], *, openssh: bool
    ) -> Proxy:
        """The last jump host, itself reached through the ones before it; or a ProxyCommand."""
        jump_hosts = list(self._hops(endpoint, behind))
        # As for `ssh -J`, only the first hop has a way of its own.
        proxy: Proxy = (jump_hosts or [endpoint])[0].proxy_command
        for hop in jump_hosts:
            proxy = self._shared(hop, proxy, openssh=openssh)
        return proxy

    def _hops(
        self, endpoint: SshEndpoint, behind: tuple[SshEndpoint, ...]
    ) -> Iterator[SshEndpoint]:
        """The jump hosts of an endpoint, and before them those of the first one, as for `ssh -J`.

        Raises UsageError if they lead back to one of `behind`.
        """
        for number, text in enumerate(endpoint.jumps):
            hop = endpoints.of_jump_host(self.client_config, text)
            if hop in behind:
                raise UsageError(
                    f"the jump hosts of {behind[0].name} lead back to {hop.name}",
                    f"set `ProxyJump none` for {hop.name} in ssh_config",
                )
            if number == 0:
                yield from self._hops(hop, (*behind, hop))
            yield hop

    def _shared(self, hop: SshEndpoint, proxy: Proxy, *, openssh: bool) -> Proxy:
        """The connection to a jump host, the same for all hosts that are behind it.

        One for each host would meet the limits of its sshd (MaxStartups), and cost a login each.
        """
        key = (hop.name, hop.user, hop.hostname, hop.port, proxy, openssh)
        with self._lock:
            shared = self._jump_hosts.get(key)
        if shared is None:
            make: Any = self._master if openssh else self._connection
            new: Shared[Any] = Shared(make(hop, self.recorded(hop), proxy))
            with self._lock:
                shared = self._jump_hosts.setdefault(key, new)
        return shared


def _lacks(connection: HopConnection, error: Exception) -> bool:
    """True if ssh has an algorithm, or can use a key, that paramiko cannot."""
    cause = error.cause if isinstance(error, JumpHostError) else error
    if isinstance(cause, paramiko.AuthenticationException):
        return any(hop.login.foreign for hop in hops(connection))
    return isinstance(cause, IncompatiblePeer)

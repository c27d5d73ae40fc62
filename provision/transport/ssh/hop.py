"""A connection of paramiko to one endpoint, by TCP, a jump host or a ProxyCommand."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import paramiko
from fabric import Config, Connection

from provision.transport.base import Output
from provision.transport.calls import require_current
from provision.transport.ssh import dial, hostkeys
from provision.transport.ssh.authentication import Login
from provision.transport.ssh.channel import exchange
from provision.transport.ssh.endpoint import SshEndpoint
from provision.transport.ssh.errors import BrokenGreeting, JumpHostError, RefusedChannel
from provision.transport.ssh.hostkeys import HostKeyTransport, RecordedKeys
from provision.transport.ssh.master import Master
from provision.transport.ssh.proxy_command import ProxyCommand
from provision.transport.ssh.shared import Shared

PATIENCE_S = 60.0
"""Seconds for each step of a login: reverse DNS, PAM and systemd-logind keep hosts waiting."""
KEEPALIVE_S = 3
LAST_WORDS_S = 2.0
"""Seconds for a ProxyCommand that has closed its output to end."""
_PRINTED = 400
"""Characters that a message quotes of what a server or a command has printed."""
_GREETING_ERRORS = (paramiko.SSHException, EOFError)
_PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED of RFC 4254."""


class HopConnection(Connection):  # type: ignore[misc]
    """A connection to an endpoint, not yet open, that accepts only its recorded host keys.

    All values come from the endpoint: fabric has no ssh_config in which it could look up a name.
    `proxy` is the jump host, which connections may share, or a ProxyCommand.
    """

    def __init__(
        self,
        endpoint: SshEndpoint,
        recorded: RecordedKeys,
        login: Login,
        config: Config,
        proxy: Proxy,
        patience_s: float = PATIENCE_S,
    ) -> None:
        printed: list[str] = []
        factory = partial(HostKeyTransport, recorded=recorded, printed=printed)
        super().__init__(
            endpoint.hostname,
            user=endpoint.user,
            port=endpoint.port,
            config=config,
            connect_timeout=patience_s,
            connect_kwargs={
                "banner_timeout": patience_s,
                "auth_timeout": patience_s,
                "channel_timeout": patience_s,
                "transport_factory": partial(factory, handshake_s=patience_s),
                "auth_strategy": login,
            },
            # fabric would open a connection of its own, or look for a gateway by itself.
            gateway=False,
        )
        self._set(endpoint=endpoint, recorded=recorded, login=login, proxy=proxy)
        self._set(printed=printed, patience_s=patience_s)
        # Instead of fabric's AutoAddPolicy.
        self.client.set_missing_host_key_policy(hostkeys.HostKeyCheck(recorded))

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return str(self.endpoint.name)

    def open(self) -> None:
        """Connect and log in. Raises exceptions of paramiko and socket, and JumpHostError."""
        if self.is_connected:
            return
        self.printed.clear()
        sock = self.connect_kwargs["sock"] = self.socket()
        try:
            super().open()
        except BaseException as error:
            text = self._greeting(sock) if isinstance(error, _GREETING_ERRORS) else ""
            self.client.close()  # paramiko's thread outlives a refused key or login
            if text:
                raise BrokenGreeting(f"it printed: {text}") from error
            raise
        self.transport.set_keepalive(KEEPALIVE_S)

    def execute(
        self, host: str, command: str, data: bytes | Iterator[bytes], timeout_s: float
    ) -> Output:
        """Run `command` with `data` as its standard input: see `channel.exchange`."""
        self.printed.clear()
        try:
            channel = self.transport.open_session(timeout=self.patience_s)
        except paramiko.ChannelException as error:
            reason = _cut(self.printed) or str(error)
            hint = "allow it in its sshd_config: MaxSessions 10"
            raise RefusedChannel(f"it refuses a session: {reason}", hint) from error
        require_current(host)
        return exchange(host, channel, command, data, timeout_s)

    def close(self) -> None:
        """Close the connection, but not that to its jump host, which others may use."""
        with suppress(Exception):
            self.client.close()

    def socket(self) -> Any:
        """A connection to sshd: by TCP, a channel of the jump host, or the ProxyCommand."""
        endpoint = self.endpoint
        if isinstance(self.proxy, str):
            shell = os.environ.get("SHELL") or "/bin/sh"
            return ProxyCommand(shlex.join((shell, "-c", f"exec {self.proxy}")))
        if self.proxy is not None:
            jump_host = self.proxy.opened()
            if isinstance(jump_host, HopConnection):
                return self._tunnel(jump_host)
            return ProxyCommand(shlex.join(jump_host.forwarding(endpoint)))
        family, source = endpoint.first("addressfamily", "any"), endpoint.first("bindaddress", "")
        address = (endpoint.hostname, endpoint.port)
        try:
            return dial.connected(*address, endpoint.connect_s, family, source)
        except OSError as error:
            text = dial.reason(error, *address, endpoint.connect_s)
            raise type(error)(error.errno, text) from error

    def _tunnel(self, hop: HopConnection) -> paramiko.Channel:
        """A channel of a jump host that leads to the endpoint."""
        target, limit_s = self.endpoint, self.endpoint.connect_s
        hop.printed.clear()
        try:
            channel: paramiko.Channel = hop.transport.open_channel(
                "direct-tcpip", (target.hostname, target.port), ("", 0), timeout=limit_s
            )
        except paramiko.ChannelException as error:
            reason = _cut(hop.printed) or str(error)
            if error.code == _PROHIBITED:
                message = f"jump host {hop.endpoint.name} refuses to forward: {reason}"
                hint = f"allow it in sshd_config of {hop.endpoint.name}: AllowTcpForwarding yes"
                raise RefusedChannel(f"{message}", f"{hint}, PermitOpen any") from error
            message = f"jump host {hop.endpoint.name} cannot connect to it: {reason}"
            hint = f"the jump host uses the address {target.hostname}, port {target.port}"
            raise RefusedChannel(message, hint) from error
        except paramiko.SSHException as error:
            if not hop.is_connected:
                raise JumpHostError(hop.endpoint.name, error) from error
            message = f"jump host {hop.endpoint.name} got no answer from it in {limit_s:g} s"
            raise RefusedChannel(message, "is it up, and does the jump host reach it?") from error
        return channel

    def _greeting(self, sock: Any) -> str:
        """The text that came before SSH's, from the server or on the ProxyCommand's stderr.

        Empty for a server that has begun to speak SSH.
        """
        transport = self.client.get_transport()
        if transport is not None and transport.remote_version:
            return ""
        lines = list(self.printed)
        if isinstance(sock, ProxyCommand):
            stderr: Any = sock.process.stderr
            with suppress(subprocess.TimeoutExpired):
                sock.process.wait(LAST_WORDS_S)
            # Children of the command may hold the pipe open: do not wait for its end.
            os.set_blocking(stderr.fileno(), False)
            lines += (stderr.read(4 * _PRINTED) or b"").decode("utf-8", "replace").splitlines()
        return _cut(lines)


Proxy: TypeAlias = Shared[HopConnection] | Shared[Master] | str | None
"""The way to an endpoint: a jump host, a ProxyCommand, or TCP."""


def hops(connection: HopConnection) -> Iterator[HopConnection]:
    """The connection itself, then its jump hosts, the one next to the host first."""
    hop: Any = connection
    while isinstance(hop, HopConnection):
        yield hop
        hop = hop.proxy.connection if isinstance(hop.proxy, Shared) else None


def _cut(lines: list[str]) -> str:
    return "; ".join(line.strip() for line in lines if line.strip())[:_PRINTED]

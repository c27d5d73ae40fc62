"""Scripts and files over SSH, on one connection a host that stays open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import paramiko
from fabric import Connection

from provision.model.errors import AuthError, ConnectError, HostError
from provision.model.inventory import Inventory
from provision.resources.script import quoted
from provision.transport.base import Output
from provision.transport.calls import require_current
from provision.transport.project_files import nearest
from provision.transport.ssh.channel import CHANNEL_S, exchange, limit_silence
from provision.transport.ssh.connections import Connections, hops
from provision.transport.ssh.errors import host_error
from provision.transport.ssh.host_key_offer import Offer, offer

# RuntimeError: Path.expanduser of an unknown user (`IdentityFile ~nobody/key`).
_FAILURES = (paramiko.SSHException, OSError, EOFError, ValueError, RuntimeError)
# The shell reads the whole script from standard input before it runs any of it. So the script
# may be longer than an argument (128 KiB, MAX_ARG_STRLEN), needs no file on the host, and no
# command in it can read the rest of it. The line is quoted so that csh and fish as login shells
# pass it on unchanged.
_SHELL = ("sh", "-c", 'eval "$(cat)"')
# Written beside the target and renamed: the target is never half a file.
_SAVE = 'umask 077; mkdir -p "${1%/*}" && cat >"$1.part" && mv -f "$1.part" "$1"'


class SshTransport:
    """Transport over SSH to the hosts of one inventory.

    `ssh_config`: an OpenSSH client configuration; None: the user's own. `known_hosts`: a file
    of host keys in addition to those of ssh_config. `executions`: commands started, by host.
    """

    def __init__(
        self,
        inventory: Inventory,
        ssh_config: Path | None = None,
        known_hosts: Path | None = None,
    ) -> None:
        self.executions: Counter[str] = Counter()
        self._inventory = inventory
        self._connections = Connections(ssh_config, known_hosts)
        self._open: dict[str, Connection] = {}
        self._lock = Lock()
        self._pending: dict[str, Future[Connection]] = {}

    @classmethod
    def for_project(cls, inventory: Inventory, ssh_config: Path | None = None) -> SshTransport:
        """A transport with the ssh_config (unless one is given) and known_hosts of the project."""
        path = inventory.path
        return cls(
            inventory, ssh_config or nearest(path, "ssh_config"), nearest(path, "known_hosts")
        )

    def dial(self, hosts: Iterable[str], *, jobs: int) -> None:
        """Start connecting to `hosts`, `jobs` at a time; `run` waits, and raises the errors."""
        pool = ThreadPoolExecutor(max_workers=jobs)
        self._pending = {host: pool.submit(self._connect, host) for host in hosts}
        pool.shutdown(wait=False)

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script` as root. Raises ConnectError, AuthError, HostKeyError, TimedOut."""
        return self._execute(host, _SHELL, script.encode(), timeout_s)

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file of the controller to `target` on the host, mode 0600."""
        with source.open("rb") as file:
            chunks = iter(lambda: file.read(2**20), b"")
            output = self._execute(host, ("sh", "-c", _SAVE, "sh", target), chunks, timeout_s)
        if output.status:
            reason = output.stderr.strip()[-300:]
            raise ConnectError(host, f"{source} could not be copied to {target}: {reason}")

    def offers(self, host: str) -> tuple[Offer, ...]:
        """The keys that a host's jump hosts and the host offer, up to the first unrecorded one.

        A host behind an unrecorded jump host cannot be asked yet. Raises ConnectError, and
        AuthError or HostKeyError of a jump host.
        """
        offers: list[Offer] = []
        try:
            target = self._connections.to(self._inventory.hosts[host])
            for hop in reversed(tuple(hops(target))):
                name = host if hop is target else str(hop.original_host)
                offers.append(offer(hop, name))
                if offers[-1].status != "known":
                    break
        except _FAILURES as error:
            raise self._failed(host, error) from error
        return tuple(offers)

    def warnings(self) -> tuple[str, ...]:
        """A line for each option that ssh_config sets for hosts and provision does not follow."""
        hosts_by_option: dict[str, list[str]] = {}
        for host in self._inventory.hosts.values():
            for option in self._connections.ignored_options(host):
                hosts_by_option.setdefault(option, []).append(host.name)
        return tuple(
            f"{option} in ssh_config is ignored ({', '.join(hosts)})"
            for option, hosts in hosts_by_option.items()
        )

    def close(self) -> None:
        """Close every connection."""
        while self._pending:
            _, future = self._pending.popitem()
            future.cancel()
            future.add_done_callback(_close_result)
        with self._lock:
            connections = tuple(self._open.values())
            self._open.clear()
        for connection in connections:
            connection.close()

    def _execute(
        self, host: str, argv: tuple[str, ...], data: bytes | Iterator[bytes], timeout_s: float
    ) -> Output:
        sudo = self._inventory.hosts[host].ssh.sudo
        command = quoted(("sudo", "-n", "--", *argv) if sudo else argv)
        try:
            channel = self._transport(host).open_session(timeout=CHANNEL_S)
        except (paramiko.SSHException, OSError) as error:
            raise self._failed(host, error) from error
        require_current(host)
        self.executions[host] += 1
        output = exchange(host, channel, command, data, timeout_s)
        # sudo exits with 1 when it refuses; a command of ours that prints like it has output.
        if output.stderr.startswith("sudo: ") and output.status == 1 and not output.stdout:
            raise AuthError(
                host,
                f"sudo refused: {output.stderr.strip()[:200]}",
                "give this user NOPASSWD in sudoers, or log in as root (ssh.user)",
            )
        return output

    def _transport(self, host: str) -> paramiko.Transport:
        connection = self._open.get(host)
        if connection is None or not connection.is_connected:
            pending = self._pending.pop(host, None)
            connection = pending.result() if pending else self._connect(host)
            self._keep(host, connection)
        transport: paramiko.Transport = connection.transport
        return transport

    def _keep(self, host: str, connection: Connection) -> None:
        """Note an open connection; close it if its call was abandoned while it connected."""
        with self._lock:
            try:
                require_current(host)
            except HostError:
                connection.close()
                raise
            self._open[host] = connection

    def _connect(self, host: str) -> Connection:
        try:
            connection = self._connections.to(self._inventory.hosts[host])
            connection.open()
        except _FAILURES as error:
            raise self._failed(host, error) from error
        limit_silence(connection.transport)
        return connection

    def _failed(self, host: str, error: Exception) -> HostError:
        self._open.pop(host, None)
        return host_error(host, error)


def _close_result(pending: Future[Connection]) -> None:
    if not pending.cancelled() and pending.exception() is None:
        pending.result().close()

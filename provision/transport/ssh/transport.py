"""Scripts and files over SSH: one connection a host, kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import paramiko
from fabric import Connection

from provision.model.errors import AuthError, ConnectError, HostError
from provision.model.inventory import Inventory
from provision.resources.script import quoted
from provision.transport.base import Output
from provision.transport.project_files import nearest
from provision.transport.ssh.channel import CHANNEL_S, exchange, notice_silence
from provision.transport.ssh.connections import Ways, hops
from provision.transport.ssh.errors import host_error
from provision.transport.ssh.host_key_offer import Offer, offered

# RuntimeError: the home folder of a user whom nobody knows (`~nobody/key` in ssh_config).
_FAILURES = (paramiko.SSHException, OSError, EOFError, ValueError, RuntimeError)
# The script comes on stdin as a whole and is run by eval: no limit on its length, no file, and
# nothing in it can eat the rest of it. The line has no characters that csh or fish would read.
_SHELL = ("sh", "-c", 'eval "$(cat)"')
_SAVE = 'umask 077; mkdir -p "${1%/*}" && cat >"$1.part" && mv -f "$1.part" "$1"'


class SshTransport:
    """Transport over SSH to the hosts of one inventory.

    `ssh_config`: an OpenSSH client configuration; None: the user's own. `known_hosts`: a file
    of host keys that counts beside those of ssh_config.
    `executions` counts the commands that were started, by host.
    """

    def __init__(
        self,
        inventory: Inventory,
        ssh_config: Path | None = None,
        known_hosts: Path | None = None,
    ) -> None:
        self.executions: Counter[str] = Counter()
        self._inventory = inventory
        self._ways = Ways(ssh_config, known_hosts)
        self._open: dict[str, Connection] = {}
        self._dialled: dict[str, Future[Connection]] = {}

    @classmethod
    def nearby(cls, inventory: Inventory, ssh_config: Path | None = None) -> SshTransport:
        """By an ssh_config, else by that of the inventory's project; and its known hosts."""
        path = inventory.path
        return cls(
            inventory, ssh_config or nearest(path, "ssh_config"), nearest(path, "known_hosts")
        )

    def dial(self, hosts: Iterable[str], *, jobs: int) -> None:
        """Begin to connect to `hosts`, `jobs` at a time; `run` waits for its host and may raise."""
        pool = ThreadPoolExecutor(max_workers=jobs)
        self._dialled = {host: pool.submit(self._connect, host) for host in hosts}
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
            raise ConnectError(host, f"{source} could not be sent: {output.stderr.strip()[-300:]}")

    def offers(self, host: str) -> tuple[Offer, ...]:
        """The keys that a host and its jump hosts show, up to the first that is not known.

        Raises ConnectError, and AuthError or HostKeyError of a jump host.
        """
        found: list[Offer] = []
        try:
            target = self._ways.to(self._inventory.hosts[host])
            for hop in reversed(tuple(hops(target))):
                name = host if hop is target else str(hop.original_host)
                found.append(offered(hop, name))
                if found[-1].status != "known":
                    break
        except _FAILURES as error:
            raise self._failed(host, error) from error
        return tuple(found)

    def remarks(self) -> tuple[str, ...]:
        """What ssh_config says of the hosts and is not done, a line each."""
        unread: dict[str, list[str]] = {}
        for host in self._inventory.hosts.values():
            for word in self._ways.unread(host):
                unread.setdefault(word, []).append(host.name)
        return tuple(
            f"{word} in ssh_config is not used ({', '.join(hosts)})"
            for word, hosts in unread.items()
        )

    def close(self) -> None:
        """Close every connection."""
        while self._dialled:
            _, future = self._dialled.popitem()
            future.cancel()
            future.add_done_callback(_hang_up)
        while self._open:
            _, connection = self._open.popitem()
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
        self.executions[host] += 1
        output = exchange(host, channel, command, data, timeout_s)
        if output.stderr.startswith("sudo: ") and output.status == 1 and not output.stdout:
            raise AuthError(
                host,
                f"sudo refused: {output.stderr.strip()[:200]}",
                "allow this login NOPASSWD in sudoers, or log in as root",
            )
        return output

    def _transport(self, host: str) -> paramiko.Transport:
        connection = self._open.get(host)
        if connection is None or not connection.is_connected:
            dialled = self._dialled.pop(host, None)
            connection = dialled.result() if dialled else self._connect(host)
            self._open[host] = connection
        transport: paramiko.Transport = connection.transport
        return transport

    def _connect(self, host: str) -> Connection:
        try:
            connection = self._ways.to(self._inventory.hosts[host])
            connection.open()
        except _FAILURES as error:
            raise self._failed(host, error) from error
        notice_silence(connection.transport)
        return connection

    def _failed(self, host: str, error: Exception) -> HostError:
        self._open.pop(host, None)
        return host_error(host, error)


def _hang_up(dialled: Future[Connection]) -> None:
    if not dialled.cancelled() and dialled.exception() is None:
        dialled.result().close()

"""Scripts and files over SSH, on one connection a host that stays open."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import paramiko

from provision.model.errors import ConnectError, HostError, NoAnswerError, SudoError
from provision.model.inventory import Inventory
from provision.resources.script import quoted
from provision.transport import answers
from provision.transport.base import Output
from provision.transport.calls import require_current
from provision.transport.project_files import nearest
from provision.transport.ssh.connections import Connections
from provision.transport.ssh.errors import host_error
from provision.transport.ssh.hop import PATIENCE_S
from provision.transport.ssh.host_key_offer import Offer, offer
from provision.transport.ssh.openssh import ClientConfig
from provision.transport.ssh.sessions import HostConnection

LISTED = 5
"""Numbers of lines that a remark has."""
# RuntimeError: Path.expanduser of an unknown user (`IdentityFile ~nobody/key`).
_FAILURES = (paramiko.SSHException, OSError, EOFError, ValueError, RuntimeError)


class SshTransport:
    """Transport over SSH to the hosts of one inventory.

    `ssh_config`: an OpenSSH client configuration; None: the user's own. `known_hosts`: a file
    of host keys in addition to those of ssh_config. `executions`: commands started, by host.
    """

    def __init__(
        self,
        inventory: Inventory,
        ssh_config: ClientConfig | Path | None = None,
        known_hosts: Path | None = None,
    ) -> None:
        self.executions: Counter[str] = Counter()
        self._inventory = inventory
        if not isinstance(ssh_config, ClientConfig):
            ssh_config = ClientConfig(ssh_config)
        self._connections = Connections(ssh_config, known_hosts)
        self._open: dict[str, HostConnection] = {}
        self._lock = Lock()
        self._pending: dict[str, Future[HostConnection]] = {}

    @classmethod
    def for_project(
        cls, inventory: Inventory, ssh_config: ClientConfig | Path | None = None
    ) -> SshTransport:
        """A transport with the ssh_config (unless one is given) and known_hosts of the project."""
        path = inventory.path
        if not isinstance(ssh_config, ClientConfig):
            ssh_config = ClientConfig.for_project(path, ssh_config)
        return cls(inventory, ssh_config, nearest(path, "known_hosts"))

    def dial(self, hosts: Iterable[str], *, jobs: int, timeout_s: float = PATIENCE_S) -> None:
        """Start connecting to `hosts`, `jobs` at a time; `run` waits, and raises the errors.

        `timeout_s` is the limit of a script: no step of a login takes longer.
        """
        self._connections.patience_s = min(PATIENCE_S, timeout_s)
        pool = ThreadPoolExecutor(max_workers=jobs)
        self._pending = {host: pool.submit(self._connect, host) for host in hosts}
        pool.shutdown(wait=False)

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script` as root.

        Raises ConnectError, AuthError, HostKeyError, TimedOut, and NoAnswerError if the host did
        not run it to its end.
        """
        nonce = secrets.token_hex(8)
        text = answers.marked(script, nonce)
        return self._execute(host, answers.SHELL, text.encode(), nonce, timeout_s)

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file of the controller to `target` on the host, mode 0600."""
        nonce = secrets.token_hex(8)
        argv = answers.save(target, nonce)
        with source.open("rb") as file:
            chunks = iter(lambda: file.read(2**20), b"")
            output = self._execute(host, argv, chunks, nonce, timeout_s)
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
            for hop in self._connections.chain(self._inventory.hosts[host]):
                offers.append(offer(hop))
                if offers[-1].status != "known":
                    break
        except _FAILURES as error:
            raise self._failed(host, error) from error
        return tuple(offers)

    def warnings(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """A line for each option of ssh_config that is not followed, and each damaged known_hosts.

        Raises UsageError for an ssh_config that cannot be used.
        """
        remark = self._connections.client_config.remark
        hosts_by_option: dict[str, list[str]] = {}
        damaged: dict[Path, tuple[int, ...]] = {}
        for host in hosts:
            endpoint = self._connections.endpoint(self._inventory.hosts[host])
            damaged |= self._connections.damaged_lines(endpoint)
            by_ssh = self._connections.uses_openssh(self._inventory.hosts[host])
            for option in () if by_ssh else endpoint.ignored:
                hosts_by_option.setdefault(option, []).append(host)
        return (
            *((remark,) if remark else ()),
            *(
                f"{option} in ssh_config is ignored ({', '.join(names)})"
                for option, names in hosts_by_option.items()
            ),
            *(_passed_over(path, numbers) for path, numbers in damaged.items()),
        )

    def close(self) -> None:
        """Close every connection."""
        self._connections.client_config.close()
        while self._pending:
            _, future = self._pending.popitem()
            future.cancel()
            future.add_done_callback(_close_result)
        with self._lock:
            connections = tuple(self._open.values())
            self._open.clear()
        for connection in connections:
            connection.close()
        self._connections.close()

    def _execute(
        self,
        host: str,
        argv: tuple[str, ...],
        data: bytes | Iterator[bytes],
        nonce: str,
        timeout_s: float,
    ) -> Output:
        """Run a command that ends with the mark of `nonce`; its output without the mark."""
        sudo = self._inventory.hosts[host].ssh.sudo
        command = quoted(("sudo", "-n", "--", *argv) if sudo else argv)
        connection = self._connection(host)
        require_current(host)
        self.executions[host] += 1
        try:
            output = connection.execute(host, command, data, timeout_s)
        except _FAILURES as error:
            raise self._failed(host, error) from error
        try:
            return answers.unmarked(host, output, nonce)
        except NoAnswerError as error:
            # sudo exits with 1 when it refuses.
            if not sudo or output.status != 1:
                raise
            raise SudoError(
                host,
                f"sudo refused: {answers.reply(output)}",
                "give this user NOPASSWD in sudoers, or log in as root (ssh.user)",
            ) from error

    def _connection(self, host: str) -> HostConnection:
        connection = self._open.get(host)
        if connection is None or not connection.is_connected:
            pending = self._pending.pop(host, None)
            connection = pending.result() if pending else self._connect(host)
            self._keep(host, connection)
        return connection

    def _keep(self, host: str, connection: HostConnection) -> None:
        """Note an open connection; close it if its call was abandoned while it connected."""
        with self._lock:
            try:
                require_current(host)
            except HostError:
                connection.close()
                raise
            self._open[host] = connection

    def _connect(self, host: str) -> HostConnection:
        try:
            connection = self._connections.to(self._inventory.hosts[host])
            return self._opened(host, connection)
        except _FAILURES as error:
            raise self._failed(host, error) from error

    def _opened(self, host: str, connection: HostConnection) -> HostConnection:
        """The connection once it is open, or another one, by ssh, if paramiko lacks something."""
        try:
            connection.open()
        except _FAILURES as error:
            connection.close()
            target = self._inventory.hosts[host]
            other = self._connections.instead(target, connection, error)
            if other is None:
                raise
            return self._opened(host, other)
        return connection

    def _failed(self, host: str, error: Exception) -> HostError:
        self._open.pop(host, None)
        return host_error(host, error)


def _passed_over(path: Path, numbers: tuple[int, ...]) -> str:
    lines = ", ".join(str(number) for number in numbers[:LISTED])
    more = " and others" if len(numbers) > LISTED else ""
    return f"{path}: passed over damaged lines: {lines}{more} (ssh-keygen -l -f {path} shows keys)"


def _close_result(pending: Future[HostConnection]) -> None:
    if not pending.cancelled() and pending.exception() is None:
        pending.result().close()

"""SSH to the hosts: the only room that imports fabric and paramiko, and maps their errors.

One connection a host, kept. Host keys are always checked: fabric by itself accepts any.
"""

from __future__ import annotations

import socket
import threading
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import paramiko
from fabric import Config, Connection

from provision.errors import AuthError, ConnectError, FactsError, HostError, HostKeyError, TimedOut
from provision.inventory import Host, Inventory
from provision.script import quoted
from provision.transport import Output

CONNECT_S, BANNER_S, AUTH_S, CHANNEL_S = 10.0, 10.0, 15.0, 5.0
KEEPALIVE_S = 3
UNACKNOWLEDGED_MS = 5000
TCP_USER_TIMEOUT = 18  # of <linux/tcp.h>; the socket module does not name it everywhere
OUTPUT_LIMIT = 16 * 2**20

# The script comes on stdin as a whole and is run by eval: no limit on its length, no file, and
# nothing in it can eat the rest of it. The line has no characters that csh or fish would read.
_SHELL = ("sh", "-c", 'eval "$(cat)"')
_SAVE = 'umask 077; mkdir -p "${1%/*}" && cat >"$1.part" && mv -f "$1.part" "$1"'


class Ssh:
    """Transport over SSH to the hosts of one inventory.

    `ssh_config`: an OpenSSH client configuration; None: the user's own.
    `executions` counts the commands that were started, by host.
    """

    def __init__(self, inventory: Inventory, ssh_config: Path | None = None) -> None:
        self.executions: Counter[str] = Counter()
        self._inventory = inventory
        path = str(ssh_config) if ssh_config else None
        self._config = Config(runtime_ssh_path=path)
        self._open: dict[str, Connection] = {}
        self._dialled: dict[str, Future[Connection]] = {}

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
        output = _exchange(host, channel, command, data, timeout_s)
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
            connection = self._connection(host)
            target, *jumps = _hops(connection)
            self._pin(target, host, self._inventory.hosts[host])
            for jump in jumps:
                self._pin(jump, jump.original_host, None)
            connection.open()
        except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
            raise self._failed(host, error) from error
        _notice_silence(connection.transport)
        return connection

    def _connection(self, host: str) -> Connection:
        wanted = self._inventory.hosts[host]
        ssh, config = wanted.ssh, self._config.base_ssh_config
        named = dict(config.lookup(host))
        # ssh_config's HostName where there is one, else the address: its names need no DNS.
        target = named.pop("hostname")
        if ssh.address is not None:
            named |= config.lookup(ssh.address)
            target = named.pop("hostname")
        elif target == host:
            target = str(wanted.address)
        options: dict[str, Any] = {
            "banner_timeout": BANNER_S,
            "auth_timeout": AUTH_S,
            "channel_timeout": CHANNEL_S,
        }
        keys = [str(ssh.key)] if ssh.key else named.get("identityfile", [])
        if keys:
            options |= {"key_filename": [str(Path(key).expanduser()) for key in keys]}
            options |= {"look_for_keys": False}
        extra = {"gateway": Connection(ssh.jump, config=self._config)} if ssh.jump else {}
        if not extra and "proxyjump" in named and named["proxyjump"] != "none":
            extra = {"gateway": Connection(named["proxyjump"], config=self._config)}
        return Connection(
            target,
            user=ssh.user or named.get("user"),
            port=ssh.port or int(named.get("port", 22)),
            config=self._config,
            connect_timeout=CONNECT_S,
            connect_kwargs=options,
            **extra,
        )

    def _pin(self, connection: Connection, name: str, host: Host | None) -> None:
        """Accept the recorded host keys only, on this hop; `host` is None for a jump host."""
        client = connection.client
        client.set_missing_host_key_policy(_Refuse())
        keys = client.get_host_keys()
        if host and host.host_key:
            kind, text = host.host_key.split()[:2]
            key = paramiko.PKey.from_type_string(kind, b64decode(text))
            keys.add(_key_name(connection), kind, key)
            return
        config = self._config.base_ssh_config.lookup(name)
        for path in _known_hosts(config):
            if path.is_file():
                client.load_host_keys(str(path))
        # What ssh has recorded under the host's name or alias counts for its address.
        aliased = keys.lookup(config.get("hostkeyalias", name))
        if aliased and not keys.lookup(_key_name(connection)):
            for kind, key in list(aliased.items()):
                keys.add(_key_name(connection), kind, key)

    def _failed(self, host: str, error: Exception) -> HostError:
        self._open.pop(host, None)
        return _host_error(host, error)


def _hang_up(dialled: Future[Connection]) -> None:
    if not dialled.cancelled() and dialled.exception() is None:
        dialled.result().close()


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        digest = b64encode(sha256(key.asbytes()).digest()).decode().rstrip("=")
        raise _UnknownKey(f"its host key is not known: {key.get_name()} SHA256:{digest}")


class _UnknownKey(paramiko.SSHException):
    pass


def _hops(connection: Connection) -> Iterator[Connection]:
    hop: Any = connection
    while isinstance(hop, Connection):
        yield hop
        hop = hop.gateway


def _key_name(connection: Connection) -> str:
    host, port = connection.host, connection.port
    return host if port == 22 else f"[{host}]:{port}"


def _known_hosts(config: Any) -> Iterator[Path]:
    default = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    for key, fallback in (("userknownhostsfile", default), ("globalknownhostsfile", _GLOBAL)):
        yield from (Path(path).expanduser() for path in str(config.get(key, fallback)).split())


_GLOBAL = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"


def _notice_silence(transport: paramiko.Transport) -> None:
    """Let a half-open connection die within KEEPALIVE_S + UNACKNOWLEDGED_MS."""
    transport.set_keepalive(KEEPALIVE_S)
    transport.channel_timeout = CHANNEL_S
    if isinstance(transport.sock, socket.socket):  # not behind a jump host
        transport.sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def _exchange(
    host: str,
    channel: paramiko.Channel,
    command: str,
    data: bytes | Iterator[bytes],
    timeout_s: float,
) -> Output:
    late = threading.Event()

    def give_up() -> None:
        late.set()
        channel.close()

    watchdog = threading.Timer(timeout_s, give_up)
    watchdog.daemon = True
    watchdog.start()
    errors = bytearray()
    drain = threading.Thread(target=_drain, args=(channel.recv_stderr, errors), daemon=True)
    answer = bytearray()
    status, problem = -1, ""
    try:
        channel.exec_command(command)
        drain.start()
        for chunk in (data,) if isinstance(data, bytes) else data:
            channel.sendall(chunk)
        channel.shutdown_write()
        _drain(channel.recv, answer)
        if len(answer) >= OUTPUT_LIMIT:
            channel.close()
        drain.join()
        status = channel.recv_exit_status()
    except (paramiko.SSHException, OSError, EOFError) as error:
        problem = str(error)
    finally:
        watchdog.cancel()
        channel.close()
    if late.is_set():
        raise TimedOut(host, f"no end after {timeout_s:g} s", "give more time with --timeout")
    if len(answer) >= OUTPUT_LIMIT:
        raise FactsError(host, f"it printed more than {OUTPUT_LIMIT} bytes")
    if status < 0:
        raise ConnectError(host, f"the connection broke: {problem or 'no answer any more'}")
    return Output(status, answer.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))


def _drain(receive: Any, into: bytearray) -> None:
    while len(into) < OUTPUT_LIMIT and (chunk := receive(65536)):
        into += chunk


def _host_error(host: str, error: Exception) -> HostError:
    if isinstance(error, _UnknownKey):
        return HostKeyError(
            host,
            str(error),
            "compare the fingerprint with the host's own, then add the key to known_hosts "
            f"or to the inventory as hosts.{host}.host_key",
        )
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyError(
            host,
            "its host key is not the recorded one: somebody may be in between",
            "if the host was installed anew, replace its line in known_hosts",
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return AuthError(host, "the key is locked by a passphrase", "load it into an ssh-agent")
    if isinstance(error, paramiko.AuthenticationException):
        return AuthError(host, f"it refused the login: {error}", "see ssh: user, key; or an agent")
    if isinstance(error, TimeoutError):
        return ConnectError(host, f"unreachable (no answer in {CONNECT_S:g} s)")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectError(host, f"unreachable ({reason})", _reachable_hint(error))


def _reachable_hint(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name does not resolve: give HostName in ssh_config"
    return ""

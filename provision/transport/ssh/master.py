"""A connection of the ssh program to one endpoint, which the commands on that host share.

The first process is the master of ControlMaster; each command is an ssh that asks it for a session.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from provision.model.errors import ConnectError, FactsError, TimedOut
from provision.transport.base import Output
from provision.transport.calls import require_current
from provision.transport.ssh import dial, master_config, master_errors
from provision.transport.ssh.channel import OUTPUT_LIMIT
from provision.transport.ssh.endpoint import SshEndpoint
from provision.transport.ssh.errors import BadCertificate, RefusedChannel
from provision.transport.ssh.hostkeys import RecordedKeys
from provision.transport.ssh.shared import Shared
from provision.transport.ssh.streams import exchange

POLL_S = 0.01
# ssh ends with a line on fd 3, or with the pipe itself, whatever has ended this process. `kill`
# hits ssh, not a process that has its number later: the number stays that of this shell's group.
# `_end` deletes the files, which a next ssh may use by then; here, where nobody is left to do so.
# Until 9.3, ssh misses a signal that comes just before it waits for its sockets: send it again.
_MASTER = """\
exec 3<&0
{ read -r line <&3; ended=$?
  for pause_s in 0.1 0.4 1 2; do kill $$ || break; sleep $pause_s; done; kill -9 $$
  [ $ended = 0 ] || { rm -f "$0".*; rmdir "${0%/*}"; }; } 2>/dev/null &
exec "$@" </dev/null 3<&-
"""
# Without a master, ssh would connect by itself, with none of the options of the master.
_NO_CONNECTION = ("-F", "none", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR", "-T")


class Master:
    """A connection to an endpoint, not yet open; its files begin with the path `base`.

    `proxy` is the jump host, which connections may share, or a ProxyCommand.
    """

    def __init__(
        self,
        program: str,
        base: Path,
        settings: master_config.MasterSettings,
        recorded: RecordedKeys,
        proxy: Shared[Master] | str | None,
        patience_s: float,
    ) -> None:
        self._program, self._base, self._settings = program, base, settings
        self._recorded, self._proxy, self._patience_s = recorded, proxy, patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = self._broken = False

    @property
    def name(self) -> str:
        """The name of the endpoint."""
        return self.endpoint.name

    @property
    def endpoint(self) -> SshEndpoint:
        """The host or jump host that the connection leads to."""
        return self._settings.endpoint

    @property
    def is_connected(self) -> bool:
        """False before `open`, and once ssh has ended."""
        return not (self._process is None or self._broken or _has_ended(self._process))

    def open(self) -> None:
        """Connect and log in. Raises exceptions as paramiko does, and JumpHostError."""
        try:
            self._open()
        except master_errors.OtherPrincipalError:
            # The certificate may be for the name of the inventory rather than for the address.
            self._open(alias=self.endpoint.name)

    def _open(self, alias: str | None = None) -> None:
        self._end()
        self._broken = False
        files = master_config.files(
            self._settings,
            self._recorded,
            self._proxy_lines(),
            self._patience_s,
            known=self._file("known"),
            alias=alias,
        )
        for suffix, text in files.items():
            self._file(suffix).write_text(text, "utf-8", "surrogateescape")
        options = ("-F", str(self._file("conf")), "-M", "-N", "-S", self._socket)
        ssh = (self._program, *options, "--", self.name)
        shell = ("sh", "-c", _MASTER, str(self._base), *ssh)
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        with self._file("log").open("wb") as log:
            # A session of its own: Ctrl-C is for this process, which ends ssh when it should.
            self._process = subprocess.Popen(
                shell, stdin=pipe, stdout=null, stderr=log, start_new_session=True
            )
        try:
            self._await_login(self._process)
        except BaseException:
            self._end()
            raise

    def _await_login(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the master listens, which it does once it is logged in."""
        begin = time.monotonic()
        while not Path(self._socket).exists():
            log, spent_s = self._file("log"), time.monotonic() - begin
            ended = _has_ended(process)
            text = log.read_text("utf-8", "replace") if log.exists() else ""
            if self._closed:
                raise RefusedChannel("the connection was closed", "")
            if ended:
                raise self._failure(text)
            if spent_s > self.endpoint.connect_s and not master_errors.is_connected(text):
                self._require_tunnel(spent_s)
            if spent_s > 2 * self._patience_s:
                raise TimeoutError(f"the login did not end within {spent_s:.0f} s")
            time.sleep(POLL_S)
        if self._recorded.authorities and master_errors.is_for_any_host(self.log):
            raise BadCertificate("its host certificate is refused: it is for no name")

    def _failure(self, log: str) -> Exception:
        """The reason why ssh has ended before it was logged in."""
        if isinstance(self._proxy, Shared):
            jump_host = self._proxy.connection
            refusal = master_errors.not_forwarded(log, jump_host.name, jump_host.log)
            if refusal is not None:
                return refusal
        return master_errors.failure(log, self._recorded, self._settings.named)

    def _require_tunnel(self, spent_s: float) -> None:
        """Raises RefusedChannel behind a jump host; a ProxyCommand may take its time."""
        if isinstance(self._proxy, Shared):
            message = f"jump host {self._proxy.connection.name} got no answer from it"
            hint = "is it up, and does the jump host reach it?"
            raise RefusedChannel(f"{message} in {spent_s:.0f} s", hint)

    def _proxy_lines(self) -> str:
        """The lines of ssh_config about the ProxyCommand; `dial` passes a connection to ssh."""
        if isinstance(self._proxy, str):
            return master_config.by_command(self._proxy)
        endpoint = self.endpoint
        if self._proxy is not None:
            return master_config.by_argv(self._proxy.opened().forwarding(endpoint))
        program = (sys.executable, "-I", "-S", dial.__file__)
        address = (endpoint.hostname, str(endpoint.port), f"{endpoint.connect_s:g}")
        source = (endpoint.first("addressfamily", "any"), endpoint.first("bindaddress", ""))
        return master_config.by_argv((*program, *address, *source), passes_connection=True)

    def forwarding(self, endpoint: SshEndpoint) -> tuple[str, ...]:
        """The arguments of an ssh that connects its own streams to an endpoint behind this one."""
        target = f"[{endpoint.hostname}]:{endpoint.port}"
        return self._client("-v", "-W", target)

    def _client(self, *options: str) -> tuple[str, ...]:
        """The arguments of an ssh that uses the connection."""
        return (self._program, *_NO_CONNECTION, *options, "-S", self._socket, "--", self.name)

    def execute(
        self, host: str, command: str, data: bytes | Iterator[bytes], timeout_s: float
    ) -> Output:
        """Run `command` with `data` as its standard input.

        Raises TimedOut, FactsError when it prints more than OUTPUT_LIMIT bytes, ConnectError when
        the connection breaks, and RefusedChannel.
        """
        require_current(host)
        pipe = subprocess.PIPE
        argv = (*self._client(), command)
        process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        late, stop = threading.Event(), threading.Event()

        def give_up() -> None:
            late.set()
            stop.set()
            process.kill()

        watchdog = threading.Timer(timeout_s, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            stdout, stderr = exchange(process, data, stop)
        finally:
            watchdog.cancel()
        if late.is_set():
            hint = "allow more: --timeout SECONDS"
            raise TimedOut(host, f"the script did not end within {timeout_s:g} s", hint)
        if len(stdout) >= OUTPUT_LIMIT:
            raise FactsError(host, f"the script printed more than {OUTPUT_LIMIT} bytes")
        output = Output(
            process.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace")
        )
        self._require_session(host, output)
        return output

    def _require_session(self, host: str, output: Output) -> None:
        """Raises ConnectError and RefusedChannel for a failure of ssh rather than of the script."""
        if "session request failed" in output.stderr:
            raise RefusedChannel(
                "it refuses a session", "allow it in its sshd_config: MaxSessions 10"
            )
        if output.status in (-1, 255) and not self._answers():
            lines = master_errors.spoken(self.log)
            raise ConnectError(host, f"the connection broke: {lines or 'the host is silent'}")

    def _answers(self) -> bool:
        """True if ssh still serves the connection; asked for, since one that ends takes a while."""
        if self.is_connected:
            argv = self._client("-O", "check")
            null = subprocess.DEVNULL
            self._broken = bool(subprocess.call(argv, stdin=null, stdout=null, stderr=null))
        return self.is_connected

    def close(self) -> None:
        """End ssh, and delete its files."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(b"\n")
            process.stdin.close()
        process.wait()
        for suffix in ("conf", "known", "log", "sock"):
            self._file(suffix).unlink(missing_ok=True)

    @property
    def _socket(self) -> str:
        return str(self._file("sock"))

    def _file(self, suffix: str) -> Path:
        return self._base.with_name(f"{self._base.name}.{suffix}")

    @property
    def log(self) -> str:
        """The lines that ssh has printed."""
        with suppress(OSError):
            return self._file("log").read_text("utf-8", "replace")
        return ""


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """True for a process that has ended; its number stays its own until it is waited for."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True

"""ssh_config as OpenSSH reads it: `ssh -G` prints the options of a destination.

Imports neither fabric nor paramiko, so that ssh reads the files while those are imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from pwd import getpwuid
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from provision.model.errors import UsageError
from provision.model.inventory import Host
from provision.model.text import single_line
from provision.transport.project_files import nearest
from provision.transport.ssh.destination import (
    ANY,
    NO_FILE,
    SYSTEM,
    USER,
    Destination,
    Options,
    destinations,
)

if TYPE_CHECKING:
    from provision.transport.ssh.plain_config import PlainConfig

ANSWER_S = 60.0
"""Seconds that `ssh -G` has: the commands of `Match exec` may ask the network."""


class ClientConfig:
    """The options of destinations by one ssh_config; each destination is asked for once.

    `path`: an ssh_config; None: the user's and the system's. `program`: the ssh to ask; None: there
    is none, and paramiko parses the files.
    """

    def __init__(self, path: Path | None, program: str | None = shutil.which("ssh")) -> None:
        # ssh ends at once for a user without a name: No user exists for uid 1000680000.
        self.program = program if _has_name() else None
        self._lock = Lock()
        self._answers: dict[Destination, Future[Options]] = {}
        # More processes than processors only help where commands of `Match exec` wait.
        self._limit = 2 * (os.cpu_count() or 1)
        self._running = Semaphore(self._limit)
        self._pool: ThreadPoolExecutor | None = None
        # `ssh -F none` would read no file, although there is one of this name.
        self._path = path.absolute() if path and path is not NO_FILE else path

    @classmethod
    def for_project(cls, inventory: Path, path: Path | None = None) -> ClientConfig:
        """The ssh_config at `path`, else that of the project, else the user's."""
        return cls(path or nearest(inventory, "ssh_config"))

    @property
    def remark(self) -> str | None:
        """The limits that the user has to know of, where there is no ssh."""
        if self.program:
            return None
        return (
            f"{self._missing}: Include in ssh_config is ignored, and criteria of Match that"
            " paramiko does not know count as fulfilled (install openssh-client)"
        )

    @property
    def _missing(self) -> str:
        return "there is no ssh program" if _has_name() else "ssh needs a user who has a name"

    @cached_property
    def without_file(self) -> ClientConfig:
        """The options that OpenSSH has without any file."""
        return ClientConfig(NO_FILE, self.program)

    @cached_property
    def _plain(self) -> PlainConfig:
        from provision.transport.ssh.plain_config import PlainConfig

        return PlainConfig(self._path)

    def start(self, hosts: Iterable[Host]) -> None:
        """Begin to ask for the options of hosts, while the caller goes on."""
        self._pool = ThreadPoolExecutor(self._limit)
        self._pool.submit(self.without_file.options, ANY)
        for host in hosts:
            for destination in destinations(host):
                self._pool.submit(self._answer, destination)
        self._pool.shutdown(wait=False)

    def close(self) -> None:
        """Forget what was begun by `start` and is not running yet."""
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def options(self, destination: Destination) -> Options:
        """The options of a destination. Raises UsageError for a file that ssh refuses."""
        return self._answer(destination).result()

    def _answer(self, destination: Destination) -> Future[Options]:
        """The answer about a destination; the first thread that needs it asks for it."""
        with self._lock:
            answer = self._answers.get(destination)
            if answer is not None:
                return answer
            answer = self._answers[destination] = Future()
        try:
            with self._running:
                answer.set_result(self._ask(destination))
        except BaseException as error:
            answer.set_exception(error)
        return answer

    def _ask(self, destination: Destination) -> Options:
        if self.program is None:
            with self._lock:
                return self._plain.options(destination)
        text = _wrapper(self._path)
        if text is None:
            return self._ask_by(self._path, destination)
        # Deleted at once, so that no signal leaves it behind.
        with tempfile.NamedTemporaryFile("w", prefix="provision-ssh-config-") as file:
            file.write(text)
            file.flush()
            return self._ask_by(Path(file.name), destination)

    def _ask_by(self, path: Path | None, destination: Destination) -> Options:
        assert self.program is not None
        file = ("-F", str(path)) if path else ()
        return _parsed(_stdout((self.program, "-G", *file, *destination.arguments())))


def _has_name() -> bool:
    """True if the user database has the user; containers may run as any number."""
    try:
        getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _wrapper(path: Path | None) -> str | None:
    """An ssh_config that makes ssh read `path` by HOME; None: ssh does so by itself.

    ssh looks for ~/.ssh in the folder that the user database has, whatever HOME is. Where HOME is
    another folder, it decides as for all other programs.
    """
    try:
        home = Path.home()
        same = home == Path(getpwuid(os.getuid()).pw_dir)
    except (KeyError, RuntimeError):  # a user without a name, and no HOME
        return None
    if same or path is NO_FILE:
        return None
    known = " ".join(f'"{home}/.ssh/{name}"' for name in ("known_hosts", "known_hosts2"))
    files = (home / USER, SYSTEM) if path is None else (path,)
    blocks = (*(f'Include "{file}"' for file in files), f"UserKnownHostsFile {known}")
    return "".join(f"Match all\n{block}\n" for block in blocks)


def _stdout(argv: tuple[str, ...]) -> str:
    command = " ".join((Path(argv[0]).name, *argv[1:]))
    hint = "correct it, or name another file by --ssh-config"
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise UsageError(f"`{command}` cannot be run: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(timeout=ANSWER_S)
    except subprocess.TimeoutExpired as error:
        # A command of `Match exec` may hold the pipes open: do not wait for them.
        process.kill()
        process.wait()
        message = f"`{command}` did not end within {ANSWER_S:g} s"
        raise UsageError(message, "check the commands of Match exec in ssh_config") from error
    if process.returncode:
        lines = stderr.decode("utf-8", "replace").splitlines()
        # ssh complains of the missing terminal, too.
        reasons = [line.strip() for line in lines if not line.startswith("Pseudo-terminal")]
        reason = reasons[0] if reasons else f"exit status {process.returncode}"
        raise UsageError(f"`{command}`: {single_line(reason)}", hint)
    return stdout.decode("utf-8", "surrogateescape")


def _parsed(text: str) -> Options:
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return {keyword: tuple(lines) for keyword, lines in values.items()}

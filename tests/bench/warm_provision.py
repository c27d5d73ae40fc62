"""Runs `provision` in processes that are forked from one with its modules imported.

A campaign runs `provision` many thousand times, and the start of Python with its imports takes most
of the processor time of a short command. The server below is a process without threads. It forks
for each request, and runs the program's `main` there with the streams of the request.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
LARGEST = 1 << 20
"""Bytes of a request, with the environment: more than a socket of SOCK_SEQPACKET takes at once."""


@dataclass(frozen=True)
class Request:
    """What a program is started with; `interrupt`: what it does at first on SIGINT."""

    arguments: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    interrupt: Any


class WarmProvision:
    """A server that forks, and the calls to it, which may come from any thread."""

    def __init__(self) -> None:
        self._socket, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = (sys.executable, "-m", "tests.bench.warm_provision", str(served.fileno()))
        self._server = subprocess.Popen(argv, cwd=ROOT, pass_fds=(served.fileno(),))
        served.close()

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._server.pid

    def close(self) -> None:
        """End the server, which ends when nobody can ask it any more."""
        self._socket.close()
        self._server.wait()

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `provision` with arguments, and end it after `timeout_s` seconds.

        Raises subprocess.TimeoutExpired.
        """
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(environment)})
        done, sent = socket.socketpair()
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, done:
            descriptors = [stdout.fileno(), stderr.fileno(), sent.fileno()]
            socket.send_fds(self._socket, [request.encode()], descriptors)
            sent.close()
            done.settimeout(timeout_s)
            try:
                answer = done.makefile().read()
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(["provision", *arguments], timeout_s) from error
            if not answer:
                raise RuntimeError(f"the server that runs provision has ended: {arguments}")
            stdout.seek(0)
            stderr.seek(0)
            texts = (stream.read().decode() for stream in (stdout, stderr))
            return subprocess.CompletedProcess(list(arguments), int(answer), *texts)


@cache
def _shared() -> Iterator[WarmProvision]:
    servers = (WarmProvision(), WarmProvision())
    for server in servers:
        atexit.register(server.close)
    return itertools.cycle(servers)


def shared() -> WarmProvision:
    """A server of this process, which ends with it: one of two in turn.

    Their hash seeds differ, as those of two programs do, so that no two runs in a row agree about
    an order that nobody has chosen.
    """
    return next(_shared())


def serve(requests: socket.socket) -> None:
    """Fork for each request until nobody can ask any more."""
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then forgets those that have ended
    # Ctrl-C goes to all processes of the terminal. The tests still need the server to clean up.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            return
        if not os.fork():
            _answer(Request(**json.loads(message), interrupt=interrupt), requests, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _import_all() -> None:
    """Import what the commands import while they run, too; the lab is not asked for."""
    import provision

    for module in walk_packages(provision.__path__, "provision."):
        if not module.name.startswith("provision.lab"):
            import_module(module.name)
    for name in ("paramiko", "fabric", "pytest", "testinfra", "jinja2", "yaml"):
        import_module(name)


def _answer(
    request: Request, requests: socket.socket, stdout: int, stderr: int, done: int
) -> NoReturn:
    """Run a request in one more process, whose exit status goes to the asker."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    requests.close()
    program = os.fork()
    if not program:
        os.close(done)
        _run(request, stdout, stderr)
    # Who asks no longer has the other end of `done`: then nobody waits for the program.
    if done in select.select((os.pidfd_open(program), done), (), ())[0]:
        os.kill(program, signal.SIGKILL)
    _, status = os.waitpid(program, 0)
    with suppress(BrokenPipeError):
        os.write(done, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(request: Request, stdout: int, stderr: int) -> NoReturn:
    signal.signal(signal.SIGINT, request.interrupt)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(descriptor, stream)
    try:
        os.chdir(request.cwd)
        os.environ.clear()
        os.environ.update(request.env)
        sys.argv = ["provision", *request.arguments]
        # Else click names this module as the program, in what it says of wrong usage.
        sys.modules["__main__"].__package__ = None
        import_module("provision.cli.main").main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

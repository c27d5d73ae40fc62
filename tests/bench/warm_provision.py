"""Runs `provision` in processes that are forked from one with its modules imported.

A campaign asks for plans and states many thousand times, and the start of Python with its imports
took most of the processor time of each. The server below is a process without threads. It forks
for each request, and runs the program's `main` there with the streams of the request.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, NoReturn, Self

from tests.lab.hosts import Hosts

ROOT = Path(__file__).parents[2]
LARGEST = 1 << 16
"""Bytes of a request: the arguments, the folder and the environment."""


class WarmProvision:
    """A server that forks, and the calls to it, which may come from any thread."""

    def __init__(self) -> None:
        self._socket, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = (sys.executable, "-m", "tests.bench.warm_provision", str(served.fileno()))
        self._server = subprocess.Popen(argv, cwd=ROOT, pass_fds=(served.fileno(),))
        served.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, which ends when nobody can ask it any more."""
        self._socket.close()
        self._server.wait()

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `provision` with arguments. Raises subprocess.TimeoutExpired."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(environment)})
        done, sent = socket.socketpair()
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, done:
            descriptors = [stdout.fileno(), stderr.fileno(), sent.fileno()]
            socket.send_fds(self._socket, [request.encode()], descriptors)
            sent.close()
            done.settimeout(timeout_s)
            try:
                status = int(done.makefile().read())
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(["provision", *arguments], timeout_s) from error
            stdout.seek(0)
            stderr.seek(0)
            texts = (stream.read().decode() for stream in (stdout, stderr))
            return subprocess.CompletedProcess(list(arguments), status, *texts)


@dataclass(frozen=True)
class WarmHosts(Hosts):
    """Hosts of a lab on which `provision` runs by a server."""

    server: WarmProvision

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.server.run(arguments, self.lab.folder, self.environment, 600)


def serve(requests: socket.socket) -> None:
    """Fork for each request until nobody can ask any more."""
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then forgets those that have ended
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            return
        if not os.fork():
            _answer(json.loads(message), requests, *descriptors)
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
    request: dict[str, Any], requests: socket.socket, stdout: int, stderr: int, done: int
) -> NoReturn:
    """Run a request in one more process, whose exit status goes to the asker."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    requests.close()
    program = os.fork()
    if not program:
        os.close(done)
        _run(request, stdout, stderr)
    _, status = os.waitpid(program, 0)
    os.write(done, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(request: dict[str, Any], stdout: int, stderr: int) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(descriptor, stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["provision", *request["arguments"]]
    # Else click names this module as the program, in what it says of wrong usage.
    sys.modules["__main__"].__package__ = None
    try:
        import_module("provision.cli.main").main()
    finally:
        os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

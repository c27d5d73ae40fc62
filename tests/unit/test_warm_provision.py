"""`provision` in forked processes: the same output and exit status as the program itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bench.warm_provision import WarmProvision
from tests.house.test_structure import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[WarmProvision]:
    """A server for all tests of the file."""
    warm = WarmProvision()
    yield warm
    warm.close()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("validate", "inventories/routes.yml", "--json"), 0),
        (("validate", "nothing.yml"), 3),
        (("aply",), 2),
    ],
)
def test_it_answers_as_the_program_does(
    server: WarmProvision, arguments: tuple[str, ...], status: int
) -> None:
    """Standard output, standard error and the exit status, with the folder of the request."""
    program = str(Path(sys.executable).with_name("provision"))
    expected = subprocess.run((program, *arguments), cwd=ROOT, capture_output=True, text=True)
    answer = server.run(arguments, ROOT, os.environ, 60)
    assert expected.returncode == answer.returncode == status
    assert (answer.stdout, answer.stderr) == (expected.stdout, expected.stderr)


def test_requests_run_at_once_with_their_own_environment(
    server: WarmProvision, tmp_path: Path
) -> None:
    """Many threads may ask; no request sees the environment of another, or keeps its own."""

    def width(columns: int) -> int:
        environment = os.environ | {"COLUMNS": str(columns)}
        text = server.run(("--help",), tmp_path, environment, 60).stdout
        return max(map(len, text.splitlines()))

    with ThreadPoolExecutor() as pool:
        widths = list(pool.map(width, (60, 78, 60, 78, 60)))
    assert widths[0] < widths[1] and widths == [*widths[:2] * 2, widths[0]]


def test_a_program_that_does_not_end_is_ended(server: WarmProvision, tmp_path: Path) -> None:
    """After its time, with the error that subprocess raises; the server answers on."""
    config = tmp_path / "config"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config.write_text(f"Host *\n  HostName 127.0.0.1\n  Port {mute.getsockname()[1]}\n")
        arguments = ("plan", str(ROOT / "inventories/routes.yml"), "--ssh-config", str(config))
        with pytest.raises(subprocess.TimeoutExpired):
            server.run(arguments, tmp_path, os.environ, 3)
    assert server.run(("--version",), tmp_path, os.environ, 60).returncode == 0
    until = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in in_folder(tmp_path)):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_failure_is_printed(server: WarmProvision, tmp_path: Path) -> None:
    """The tests on booted hosts look for a traceback."""
    answer = server.run(("--version",), tmp_path / "nothing", os.environ, 60)
    assert answer.returncode == 1 and "Traceback" in answer.stderr, answer


def test_ctrl_c_does_not_end_the_server(server: WarmProvision, tmp_path: Path) -> None:
    """It goes to all processes of a terminal, and the tests still have to clean up."""
    os.kill(server.pid, signal.SIGINT)
    assert server.run(("--version",), tmp_path, os.environ, 60).returncode == 0


def in_folder(folder: Path) -> list[int]:
    """The processes whose working directory is a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == folder:
                found.append(int(link.parts[2]))
    return found

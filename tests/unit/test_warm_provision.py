"""`provision` in forked processes: the same output and exit status as the program itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench.warm_provision import WarmProvision
from tests.house.test_structure import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[WarmProvision]:
    """A server for all tests of the file."""
    with WarmProvision() as warm:
        yield warm


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


def test_a_program_that_does_not_end_is_told(server: WarmProvision, tmp_path: Path) -> None:
    """After its time, by the error that subprocess raises; the server answers on."""
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(("validate", "/dev/stdin"), tmp_path, os.environ, 0.0001)
    assert server.run(("--version",), tmp_path, os.environ, 60).returncode == 0

"""`--resume` of the tests: what passed is left out, until the code changes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SETTINGS = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\npythonpath = ["."]\n'
CASES = """
import pathlib, pytest
@pytest.mark.parametrize("number", range(4))
def test_number(number):
    assert number != 2 or pathlib.Path("mended").exists()
@pytest.fixture
def unready():
    yield
    assert pathlib.Path("mended").exists()
def test_that_fails_only_at_its_end(unready):
    pass
"""
Run = Callable[..., dict[str, int]]


@pytest.fixture(params=[(), ("-n", "2")], ids=["one process", "two workers"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A function that runs the tests of a small project; the counts of pytest's last line."""
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "tests" / "house").mkdir(parents=True)
    (tmp_path / "tests" / "test_cases.py").write_text(CASES)
    (tmp_path / "tests" / "house" / "test_pages.py").write_text("def test_page(): pass\n")
    for name in ("conftest.py", "resume.py"):
        shutil.copy(TESTS / name, tmp_path / "tests")
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", *request.param]

    def run(*arguments: str, status: int | None = None) -> dict[str, int]:
        argv = [*command, *(arguments or ("--resume",))]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
        assert status in (None, done.returncode), done.stdout
        last_line = (done.stdout.splitlines() or [""])[-1]
        return {word: int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", last_line)}

    return run


def test_only_what_has_not_passed_runs_again(run: Run, tmp_path: Path) -> None:
    # A run records what passes even if nobody has thought of its end.
    assert run("-rN") == {"failed": 1, "passed": 5, "error": 1}
    second = run()
    assert second["passed"] == 2  # the page, and the test that fails at its end
    assert (second["failed"], second["error"]) == (1, 1)
    (tmp_path / "mended").touch()  # is not code: a file of the machine
    assert run()["passed"] == 3
    assert run(status=0)["passed"] == 1
    # Nothing is left of this file.
    assert "passed" not in run("--resume", "tests/test_cases.py", status=0)
    assert run("-rN")["passed"] == 6


def test_a_change_of_the_code_begins_anew(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mended").touch()
    assert run()["passed"] == 6
    (tmp_path / "provision").mkdir()
    (tmp_path / "provision" / "new.py").touch()
    assert run()["passed"] == 6
    assert run()["passed"] == 1


def test_without_the_cache_there_is_one_clear_error(run: Run) -> None:
    assert run("-p", "no:cacheprovider")["passed"] == 5
    assert run("--resume", "-p", "no:cacheprovider", status=4) == {}

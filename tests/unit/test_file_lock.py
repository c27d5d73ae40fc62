"""Locks between processes of one controller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.model.file_lock import locked

TRY = """
import sys
from pathlib import Path
from provision.model.file_lock import locked
try:
    with locked(Path(sys.argv[1]), wait=False):
        print("free")
except BlockingIOError:
    print("locked")
"""


def state(path: Path) -> str:
    """`free` or `locked`, as another process reports it."""
    argv = [sys.executable, "-c", TRY, str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_one_process_at_a_time_holds_the_lock(tmp_path: Path, kind: str) -> None:
    """The lock is on a file that it creates, or on a folder; the end of the block releases it."""
    path = tmp_path / "lock" if kind == "file" else tmp_path
    with locked(path, create=kind == "file"):
        assert state(path) == "locked"
    assert state(path) == "free"


def test_an_error_in_the_block_releases_the_lock(tmp_path: Path) -> None:
    """The end of a process releases it, too."""
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert state(tmp_path) == "free"


def test_a_missing_file_is_created_only_on_request(tmp_path: Path) -> None:
    """A caller that only tests for a running process leaves no file behind."""
    with pytest.raises(FileNotFoundError), locked(tmp_path / "absent", wait=False):
        pass
    assert not list(tmp_path.iterdir())

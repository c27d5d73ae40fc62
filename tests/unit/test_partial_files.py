"""Rollbacks of files: what a power cut left half written goes, and what a stash had stays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provision.engine.plan import operations, plan
from provision.engine.undo import inverse, undo
from provision.resources import script
from provision.resources.base import Resource, State, state
from provision.resources.kinds.file import File
from provision.resources.kinds.tls_request import TlsRequest
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.resources.lib import stash, wireguard_conf
from provision.resources.steps import Steps

KEY = "oK56DE9Ue9zK76rAc8pBl6opph+1v36lm7cXXsQKrQM="
OLD_KEY = "AI4v5ezD7DvI3hZ9rYPCkyA6TPLiDuGGFyzHuvUMKVs=\n"


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /etc/provision; `wg` prints keys, and cannot configure a device."""
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.setattr("provision.resources.kinds.tls_request.ETC", str(folder))
    monkeypatch.setattr(wireguard_conf, "ETC", str(folder))
    monkeypatch.setattr("provision.resources.kinds.wireguard_key.ETC", str(folder))
    monkeypatch.setattr(stash, "STASHES", str(tmp_path / "aside"))
    _command(tmp_path / "bin" / "wg", f"case $1 in genkey | show) echo {KEY} ;; *) exit 1 ;; esac")
    # What is before `mv` has been done, and nothing after it.
    _command(tmp_path / "killing" / "mv", "kill -KILL $PPID")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return folder


def _command(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(steps: Steps, *first_in_path: Path) -> int:
    """Run the steps by this machine's shell, with its PATH; the exit status."""
    text = script.standalone([steps]).replace(script.PRELUDE, "")
    path = ":".join((*map(str, first_in_path), os.environ["PATH"]))
    return subprocess.run(("sh", "-c", text), env={"PATH": path}, capture_output=True).returncode


def content(folder: Path) -> dict[str, str]:
    """The relative path and the text of each file."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def resources(etc: Path) -> dict[str, tuple[Resource | None, Resource]]:
    """By name, what a host has and what it is to have."""
    path = str(etc / "demo" / "volatile.sh")
    old, new = (File("h1", path, text, "0644") for text in ("old\n", "new\n"))
    return {
        "a new file": (None, new),
        "a changed file": (old, new),
        "a request": (None, TlsRequest("h1", "over", "client", "demo")),
        "a key": (None, WireguardKey("h1", "demo", "safe")),
    }


@pytest.mark.parametrize("name", ["a new file", "a changed file", "a request", "a key"])
def test_an_interrupted_write_leaves_nothing(etc: Path, name: str) -> None:
    """The host is as before, also the folders."""
    before, wanted = resources(etc)[name]
    there: State = state([before]) if before else {}
    if before:
        assert run(before.create()) == 0
    files = content(etc)
    (operation,) = operations(plan(there, state([wanted])), txn="0a")
    assert run(operation.steps, etc.parent / "killing") != 0
    assert len(content(etc)) > len(files), "the test did not interrupt a write"
    for _ in range(2):
        assert run(inverse(operation, txn="0a")) == 0
    assert content(etc) == files
    assert etc.exists() == bool(files)


def test_an_interrupted_write_is_no_obstacle_to_a_removal(etc: Path) -> None:
    """A stashed file leaves no folder behind."""
    path = str(etc / "demo" / "pki" / "over.client.csr")
    assert run(File("h1", path, "old\n", "0644").create()) == 0
    assert run(File("h1", path, "new\n", "0644").create(), etc.parent / "killing") != 0
    assert run(stash.stash("0a", path)) == 0
    assert not etc.exists()
    assert run(stash.unstash("0a", path)) == 0
    assert content(etc) == {"demo/pki/over.client.csr": "old\n"}


def test_a_repeated_rollback_keeps_what_the_first_one_restored(etc: Path) -> None:
    """Here the first one moves the old key back, and cannot load it into its device."""
    asked = WireguardKey("h1", "demo", "safe", renewal="asked for")
    both = operations(plan(state([asked]), state([WireguardKey("h1", "demo", "safe")])), txn="0a")
    assert [operation.removes for operation in both] == [True, False]
    assert run(asked.create()) == 0
    (key,) = etc.rglob("*.key")
    key.write_text(OLD_KEY)
    key.with_suffix(".conf").touch()
    assert all(run(operation.steps) == 0 for operation in both)
    assert key.read_text() == f"{KEY}\n"
    program = etc.parent / "undo.1"
    program.write_text(undo(both, txn="0a").replace(script.PRELUDE, ""))
    names = subprocess.run(("sh", program, "list"), capture_output=True, text=True).stdout.split()
    assert names == ["1", "0", "always"]
    for _ in range(3):
        statuses = [subprocess.run(("sh", program, name)).returncode for name in names]
        assert key.read_text() == OLD_KEY
        assert statuses[1] != 0, "the test did not let the restoration fail"

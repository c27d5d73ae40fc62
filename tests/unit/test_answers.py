"""Scripts that a host runs to their end, in a clean environment, or not at all: real processes."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.engine import guard
from provision.engine.records import read_records
from provision.model.errors import FactsError, NoAnswerError
from provision.transport import answers
from provision.transport.local import Local

LIARS = {
    "a .bashrc that exits": (("sh", "-c", "exit 0"), "no output"),
    "nologin": (("sh", "-c", "echo This account is not available.; exit 1"), "not available"),
    "a message and nothing else": (("sh", "-c", "echo welcome; cat >/dev/null"), "welcome"),
    "no sudo": (("env", "no-such-sudo"), "No such file"),
    "a forged mark": (("sh", "-c", "printf '\\n@0 0\\n'; cat >/dev/null"), "@0 0"),
}
"""What stands in for the login shell, and a part of what it says instead of an answer."""


@pytest.mark.parametrize("liar", LIARS)
def test_an_answer_without_its_end_is_an_error(liar: str) -> None:
    """Empty output with exit status 0 is not the answer of a host that holds nothing."""
    prefix, text = LIARS[liar]
    with pytest.raises(NoAnswerError, match=text):
        Local({"h1": prefix}).run("h1", guard.status(), timeout_s=10)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder as /var/lib/provision on a host: everybody sees it, and only root can open it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent, "provision")
        folder.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
        yield folder
        folder.chmod(0o700)


def test_records_that_the_login_cannot_open_are_not_none(closed: Path) -> None:
    """A pending change must not look like none to a login that is not root."""
    script = guard.status()
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    login = Local({"h1": nobody if os.geteuid() == 0 else ("env",)})
    output = login.run("h1", script.replace("/var/lib/provision", str(closed)), timeout_s=10)
    with pytest.raises(FactsError, match="the login cannot open its records of changes") as error:
        read_records("h1", output.stdout)
    assert error.value.hint == "log in as root, or write ssh: {sudo: true}"


ENDS = {
    "true": (0, ""),
    "echo here; exit 3; echo there": (3, "here\n"),
    "exec echo here": (0, "here\n"),
    "printf here": (0, "here"),
    "set -e; false; echo here": (1, ""),
    "trap 'echo bye' EXIT; exec </dev/null; exit 4": (4, "bye\n"),
    "cat; echo read # a comment": (0, "read\n"),
    "cat <<'@x'\nhere\n@x": (0, "here\n"),
}


@pytest.mark.parametrize("script", ENDS)
def test_a_script_keeps_its_output_and_status(script: str) -> None:
    """Whatever ends it."""
    output = Local({"h1": ("env",)}).run("h1", script, timeout_s=10)
    assert (output.status, output.stdout) == ENDS[script]


def test_a_script_that_is_killed_has_not_ended() -> None:
    """What it printed until then is not its answer."""
    with pytest.raises(NoAnswerError, match="half"):
        Local({"h1": ("env",)}).run("h1", "echo half; kill -9 $$", timeout_s=10)


def test_variables_of_the_login_do_not_reach_a_script() -> None:
    """Only those by which the facts of a host tell the SSH connection."""
    noise = ("DOCKER_HOST=tcp://192.0.2.1:2375", "ETCDCTL_ENDPOINTS=x", "LANG=de_DE.UTF-8")
    login = ("env", *noise, "SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22")
    output = Local({"h1": login}).run("h1", "env | cut -d= -f1 | sort", timeout_s=10)
    names = {"DOCKER_CONFIG", "HOME", "LC_ALL", "PATH", "PWD", "SSH_CONNECTION"}
    assert set(output.stdout.split()) == names
    value = Local({"h1": login}).run("h1", 'echo "$SSH_CONNECTION"', timeout_s=10).stdout
    assert value == "192.0.2.1 50000 192.0.2.2 22\n"


def test_a_file_that_a_host_did_not_take_is_an_error(tmp_path: Path) -> None:
    """Nothing is said to be copied because a shell exits with 0."""
    (tmp_path / "source").write_text("text")
    with pytest.raises(NoAnswerError):
        Local({"h1": ("sh", "-c", "exit 0")}).send(
            "h1", tmp_path / "source", str(tmp_path / "target"), timeout_s=10
        )


@pytest.mark.parametrize(("blocks", "left"), [("unlimited", ["file"]), ("1", [])])
def test_a_file_that_does_not_fit_leaves_nothing(
    tmp_path: Path, blocks: str, left: list[str]
) -> None:
    """The host has no room for the file, as a limit of 512 bytes stands for here."""
    argv = answers.save(f"{tmp_path}/folder/file", "0a")
    limited = ("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", *argv)
    process = subprocess.run(limited, input=b"x" * 100_000, capture_output=True, check=False)
    assert (process.returncode == 0) is bool(left)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == left

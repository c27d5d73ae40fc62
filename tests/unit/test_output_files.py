"""Files that commands write: checked before any host is contacted, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from provision.cli.output_file import OutputFile, output_file
from provision.model.errors import UsageError
from tests.ssh_hosts import SlowHosts, serve, start
from tests.unit.test_commands import PROGRAM, run

HOSTS = "name: demo\nhosts: {h1: {address: 192.0.2.1}, h2: {address: 192.0.2.2}}\n"
OPTIONS = (
    ("plan", "-o"),
    ("graph", "--format=svg", "-o"),
    ("verify", "--junit"),
    ("verify", "--html"),
    ("compare", "--html"),
)


REASONS = (
    ("./link", "is an input of this command"),
    ("hosts.ini", "is an input of this command"),
    ("ssh_config", "is an input of this command"),
    (".", "is a folder"),
    ("missing/file", "No such file or directory"),
    ("fifo", "no process reads this pipe"),
    ("x" * 300, "File name too long"),
)


@pytest.mark.parametrize(
    ("command", "name", "reason"),
    [
        *((command, "i.yml", "is an input of this command") for command in OPTIONS),
        *((OPTIONS[0], name, reason) for name, reason in REASONS),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_hosts_are_contacted(
    tmp_path: Path, command: tuple[str, ...], name: str, reason: str
) -> None:
    """One line, status 2; nothing is changed or left behind."""
    text = HOSTS + "hosts_from: hosts.ini\n"
    (tmp_path / "i.yml").write_text(text)
    (tmp_path / "hosts.ini").write_text("h3 ansible_host=192.0.2.3\n")
    (tmp_path / "ssh_config").write_text("")
    (tmp_path / "link").symlink_to("i.yml")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(tmp_path.iterdir())
    status, out, err = run(
        tmp_path, command[0], "i.yml", "--ssh-config", "ssh_config", *command[1:], name
    )
    assert (status, reason in err, len(err.splitlines())) == (2, True, 2), err
    assert not out and "name another file" in err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "i.yml").read_text() == text


def test_two_options_cannot_name_one_file(tmp_path: Path) -> None:
    """The second would replace the first."""
    (tmp_path / "i.yml").write_text(HOSTS)
    status, _, err = run(tmp_path, "verify", "i.yml", "--junit", "x", "--html", "./x")
    assert (status, "--html x: is an input of this command" in err) == (2, True), err


def test_a_drawing_does_not_replace_the_results_that_it_shows(tmp_path: Path) -> None:
    """`--verify` names an input."""
    (tmp_path / "i.yml").write_text(HOSTS)
    (tmp_path / "v.txt").write_text('{"checks": [], "drift": []}')
    status, _, err = run(tmp_path, "graph", "i.yml", "--verify", "v.txt", "-o", "v.txt")
    assert (status, "is an input" in err) == (2, True), err


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Through a link, with the old mode; an error leaves the old file and nothing else."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o640)
    (tmp_path / "link").symlink_to("old")
    with output_file("-o", tmp_path / "link") as file:
        assert file is not None
        assert (tmp_path / "old").read_text() == "old"
        assert file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640
    with pytest.raises(ZeroDivisionError), output_file("-o", tmp_path / "old"):
        1 / 0  # noqa: B018
    assert (tmp_path / "old").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """As on a full disk: the message names the file, and the exit status tells it."""
    program = """
import resource, sys
from pathlib import Path
from provision.cli import streams
from provision.cli.output_file import output_file
streams.install()
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
with output_file("--html", Path(sys.argv[1])) as file:
    file.write("x" * 100_000)
raise SystemExit(streams.exit_status(0))
"""
    (tmp_path / "f").write_text("old")
    argv = (sys.executable, "-c", program, str(tmp_path / "f"))
    done = subprocess.run(argv, capture_output=True, text=True)
    assert "f was not written: File too large" in done.stderr, done
    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"


def test_a_pipe_is_written_directly() -> None:
    """Such as the one that a shell makes of `>(command)`."""
    read, write = os.pipe()
    with output_file("-o", Path(f"/dev/fd/{write}")) as file:
        assert file is not None and file.write("drawing")
    os.close(write)
    assert os.read(read, 100) == b"drawing"
    os.close(read)


def test_memory_below_dev_is_a_disk() -> None:
    """A saved plan in /dev/shm is replaced whole, and private."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        (folder / "old").write_text("a long old text")
        for name in ("old", "new"):
            with output_file("-o", folder / name, mode=0o600) as file:
                assert file is not None and file.write("new")
            assert (folder / name).read_text() == "new"
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    finally:
        shutil.rmtree(folder)


def test_a_name_of_other_bytes_can_be_written(tmp_path: Path) -> None:
    """A page has the name of the inventory, which need not be UTF-8."""
    with output_file("--html", tmp_path / "page") as file:
        assert file is not None and file.write(os.fsdecode(b"caf\xe9.yml"))
    assert (tmp_path / "page").read_text() == "caf\\udce9.yml"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    """`sudo provision` with a user's own file."""
    (tmp_path / "old").write_text("")
    os.chown(tmp_path / "old", 1234, 1234)
    with output_file("-o", tmp_path / "old") as file:
        assert file is not None and file.write("new")
    status = (tmp_path / "old").stat()
    assert (status.st_uid, status.st_gid) == (1234, 1234)


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    """A file of mkstemp has 0600; only a plan is to be private."""
    file = OutputFile("-o", tmp_path / "new")
    file.write("")
    file.close()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~mask
    with pytest.raises(UsageError, match="is a folder"):
        OutputFile("-o", tmp_path)


def test_a_saved_plan_is_private_and_says_where_it_is(tmp_path: Path) -> None:
    """Over real connections; `apply --plan` then makes it."""
    hosts = SlowHosts()
    with serve(hosts, tmp_path) as inventory:
        options = ("--ssh-config", "ssh_config")
        process = start(inventory, "plan", "inventory.yml", "-o", "saved", *options)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, "Wrote saved" in err) == (0, True), out + err
        assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o600
        process = start(inventory, "apply", "--plan", "saved", "--json", *options)
        out, err = process.communicate(timeout=60)
    assert set(json.loads(out)["hosts"].values()) == {"confirmed"}, err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("plan", "i.yml", "--timeout", "nan"), "'nan' is not a number of seconds"),
        (("plan", "i.yml", "--timeout", "inf"), "'--timeout'"),
        (("apply", "--plan", "brackets"), "brackets is not a saved plan"),
        (("apply", "--plan", "."), "is a folder"),
        (("apply", "--plan", "/dev/zero"), "is a device"),
        (("graph", "i.yml", "--verify", "brackets"), "is not the output of verify --json"),
        (("graph", "i.yml", "--verify", "/dev/zero"), "is a device"),
        (("graph", "i.yml", "--verify", "."), "is a folder"),
        (("graph", "i.yml", "--verify", "fifo"), "is a named pipe"),
        (("init", "."), "already exists"),
        (("init", "x" * 300, "--host", "a=192.0.2.1", "--host", "b=192.0.2.2"), "name too long"),
        (("plan", "i.yml", "--ssh-config", "x" * 300), "no such file"),
        (("plan", "i.yml", "--ssh-config", "."), "no such file"),
        (("apply", "--plan", "x" * 300), "the name is too long"),
        (("init", "missing/i.yml", "--host", "a=192.0.2.1"), "No such file or directory"),
    ],
)
def test_values_at_the_edge_are_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    """Status 2, no traceback, no wait."""
    (tmp_path / "i.yml").write_text(HOSTS)
    (tmp_path / "brackets").write_text("[" * 200_000)
    os.mkfifo(tmp_path / "fifo")
    argv = (PROGRAM, *arguments)
    done = subprocess.run(
        argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


LOCKED = (
    (("plan", "closed/i.yml"), 3, "permission denied"),
    (("plan", "i.yml"), 2, ".provision/ssh_config: permission denied"),
    (("trust", "i.yml"), 2, ".provision/known_hosts: permission denied"),
    (("plan", "i.yml", "--ssh-config", "closed/x"), 2, "closed/x: permission denied"),
    (("plan", "i.yml", "--ssh-config", "config", "-o", "closed/x"), 2, "ermission denied"),
    (("apply", "--plan", "closed/x"), 2, "permission denied"),
    (("graph", "i.yml", "--verify", "closed/x"), 2, "permission denied"),
    (("init", "closed/x", "--host", "a=192.0.2.1", "--host", "b=192.0.2.2"), 2, "denied"),
    (("validate", "imports.yml"), 3, "'closed/hosts': permission denied"),
    (("validate", "grouped.yml"), 3, "web: permission denied"),
    (("validate", "composed.yml"), 3, "'closed/compose.yml': permission denied"),
)


@pytest.mark.parametrize(("arguments", "status", "reason"), LOCKED)
def test_a_folder_that_may_not_be_opened_is_named(
    tmp_path: Path, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    """Such as one of root, after a first run with sudo; no traceback."""
    texts = {
        "imports.yml": "hosts_from: closed/hosts\n",
        "grouped.yml": "hosts_from: hosts.ini\n",
        "composed.yml": "compose: [{file: closed/compose.yml, network: none}]\n",
        "i.yml": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(HOSTS + text)
    (tmp_path / "config").touch()
    (tmp_path / "hosts.ini").write_text("[web]\nh3 ansible_host=192.0.2.3\n")
    argv = [PROGRAM, *arguments]
    if os.geteuid() == 0:
        # Without these rights, root opens the files of others as any user does.
        argv = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *argv]
    for name in ("closed", ".provision", "group_vars"):
        (tmp_path / name).mkdir(mode=0)
        if os.geteuid() == 0:
            os.chown(tmp_path / name, 12345, 12345)
    done = subprocess.run(
        argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    )
    for name in ("closed", ".provision", "group_vars"):
        (tmp_path / name).chmod(0o700)
    assert (done.returncode, reason in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-", "2>/dev/full >/dev/full", "<&-"])
def test_commands_without_hosts_end_without_a_traceback(tmp_path: Path, redirect: str) -> None:
    """Status 1 where results were lost."""
    (tmp_path / "i.yml").write_text(HOSTS)
    argv = ("sh", "-c", f'exec "$@" {redirect}', "sh", PROGRAM, "validate", "i.yml")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == (0 if redirect == "<&-" else 1), done
    assert "Traceback" not in done.stderr


def test_a_terminal_of_another_character_set_gets_the_result(tmp_path: Path) -> None:
    """Arrows and frames that it does not have are escaped."""
    env = {"PYTHONIOENCODING": "latin-1"}
    (tmp_path / "i.yml").write_text(HOSTS)
    status, _, err = run(tmp_path, "plan", "i.yml", "--limit", "h9", env=env)
    assert (status, "\\u2192" in err) == (2, True), err

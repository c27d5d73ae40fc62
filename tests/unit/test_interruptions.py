"""Interruptions of a process with threads in real connections: signals, and what they leave."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from provision.engine.fleet import Session, each
from provision.inventory.load import load
from provision.transport.ssh.transport import SshTransport
from tests.ssh_hosts import NAMES, SlowHosts, serve, start

QUICK = ("--ssh-config", "ssh_config")


@pytest.fixture
def hosts() -> SlowHosts:
    return SlowHosts()


@pytest.fixture
def inventory(hosts: SlowHosts, tmp_path: Path) -> Iterator[Path]:
    with serve(hosts, tmp_path) as path:
        yield path


def finish(process: subprocess.Popen[str], within_s: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within_s)
    return process.returncode, out, err


def test_an_apply_over_real_connections(hosts: SlowHosts, inventory: Path) -> None:
    """The ground of the other tests: without a signal, every host keeps the change."""
    status, out, err = finish(start(inventory, "apply", "inventory.yml", *QUICK))
    assert (status, "Traceback" in err) == (0, False), out + err
    assert hosts.states == dict.fromkeys(NAMES, "confirmed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_rolls_back_all_hosts_while_threads_are_in_calls(
    hosts: SlowHosts, inventory: Path, number: signal.Signals
) -> None:
    """Status 130 long before the call ends; the JSON tells it."""
    hosts.slow[("h2", "act")] = 60
    process = start(inventory, "apply", "inventory.yml", "--json", *QUICK)
    hosts.wait_for("h2", "act")
    process.send_signal(number)
    # A closing terminal sends the signal twice: by the shell and by the kernel.
    process.send_signal(number)
    status, out, err = finish(process, 30)
    assert (status, "Traceback" in err) == (130, False), out + err
    assert hosts.states == dict.fromkeys(NAMES, "reverted")
    result = json.loads(out)
    assert result["interrupted"] is True
    assert result["hosts"] == dict.fromkeys(NAMES, "reverted (operator)")


def test_a_second_signal_leaves_it_to_the_deadlines(hosts: SlowHosts, inventory: Path) -> None:
    """And says so, in words and in JSON; a third one cannot lose the report."""
    hosts.slow = {("h2", "act"): 60, ("h2", "revert"): 60}
    process = start(inventory, "apply", "inventory.yml", "--json", *QUICK)
    hosts.wait_for("h2", "act")
    process.send_signal(signal.SIGTERM)
    hosts.wait_for("h2", "revert")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    status, out, err = finish(process, 30)
    assert (status, "Traceback" in err) == (130, False), out + err
    assert "Left to the hosts: each rolls the change back at its deadline" in err
    assert json.loads(out)["hosts"]["h2"].startswith("pending until")


def test_a_terminal_that_is_closed_rolls_back_all_hosts(hosts: SlowHosts, inventory: Path) -> None:
    """The kernel sends SIGHUP, and every write to the terminal fails from then on."""
    hosts.slow[("h2", "act")] = 60
    master, terminal = os.openpty()
    process = start(
        inventory,
        *("apply", "inventory.yml", *QUICK),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    hosts.wait_for("h2", "act")
    os.close(master)
    assert process.wait(30) == 130
    assert hosts.states == dict.fromkeys(NAMES, "reverted")


def test_a_host_that_is_still_connected_to_is_not_armed_afterwards(
    hosts: SlowHosts, tmp_path: Path
) -> None:
    """Calls that an interruption abandons send nothing, however late their connection opens.

    The kernel may deliver the signal to any thread: here to one that does not wait for the calls.
    """
    opened = threading.Event()

    def accept(host: str) -> None:
        if host == "h2":
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            opened.wait(30)

    with serve(hosts, tmp_path, accept=accept) as path:
        session = Session(load(path), SshTransport(load(path), tmp_path / "ssh_config"))
        with pytest.raises(KeyboardInterrupt):
            each(session, ("h2",), lambda host: session.transport.run(host, "status", timeout_s=9))
        opened.set()
        deadline = time.monotonic() + 30
        while any(thread.name.startswith("ThreadPool") for thread in threading.enumerate()):
            assert time.monotonic() < deadline, threading.enumerate()
            time.sleep(0.05)
    assert not hosts.begun


def test_an_interrupted_confirm_tells_what_each_host_said(
    hosts: SlowHosts, inventory: Path
) -> None:
    """A host that was told to keep the change and has not answered is unknown."""
    status, out, err = finish(start(inventory, "apply", "inventory.yml", "--manual", *QUICK))
    assert status == 0, out + err
    hosts.slow[("h2", "confirm")] = 60
    process = start(inventory, "confirm", "inventory.yml", "--json", *QUICK)
    hosts.wait_for("h2", "confirm")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    status, out, err = finish(process, 30)
    assert (status, "Traceback" in err) == (130, False), out + err
    result = json.loads(out)
    assert result["interrupted"] is True
    assert (result["hosts"]["h1"], result["hosts"]["h3"]) == ("confirmed", "confirmed")
    assert result["hosts"]["h2"].startswith("unknown (last seen")


def test_an_interrupted_plan_says_so_in_json(hosts: SlowHosts, inventory: Path) -> None:
    """Also where there is nothing to report."""
    hosts.slow[("h2", "snapshot")] = 60
    process = start(inventory, "plan", "inventory.yml", "--json", *QUICK)
    hosts.wait_for("h2", "snapshot")
    process.send_signal(signal.SIGHUP)
    status, out, err = finish(process, 30)
    assert (status, json.loads(out)["interrupted"]) == (130, True), out + err


def test_nohup_keeps_a_run_alive(hosts: SlowHosts, inventory: Path) -> None:
    """A signal that the caller ignores stays ignored."""
    hosts.slow[("h2", "act")] = 2
    process = start(
        inventory,
        *("apply", "inventory.yml", *QUICK),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    hosts.wait_for("h2", "act")
    process.send_signal(signal.SIGHUP)
    status, out, err = finish(process)
    assert status == 0, out + err
    assert hosts.states == dict.fromkeys(NAMES, "confirmed")


@pytest.mark.parametrize(
    "redirect", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&- <&-", "| head -c 0"]
)
def test_a_change_comes_to_its_end_whatever_happens_to_the_output(
    hosts: SlowHosts, inventory: Path, redirect: str
) -> None:
    """Hosts keep the change, and the exit status says that output was lost."""
    hosts.slow[("h3", "act")] = 0.5
    if redirect.startswith("|"):
        read, write = os.pipe()
        os.close(read)
        process = start(inventory, "apply", "inventory.yml", "-v", *QUICK, stdout=write)
        os.close(write)
    else:
        process = start(inventory, "apply", "inventory.yml", "-v", *QUICK, redirect=redirect)
    status, out, err = finish(process)
    assert (status, "Traceback" in err) == (1, False), (out, err)
    assert hosts.states == dict.fromkeys(NAMES, "confirmed")
    if redirect == ">/dev/full":
        assert "standard output is incomplete: No space left on device" in err


def test_a_stopped_terminal_does_not_stop_a_change(hosts: SlowHosts, inventory: Path) -> None:
    """Ctrl-S, while a line on it tells how many hosts have answered."""
    master, terminal = os.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    process = start(inventory, "apply", "inventory.yml", *QUICK, stderr=terminal)
    try:
        out, _ = process.communicate(timeout=90)
    finally:
        process.kill()
        os.close(terminal)
        os.close(master)
    assert hosts.states == dict.fromkeys(NAMES, "confirmed"), out
    assert process.returncode == 1


@pytest.mark.parametrize(("size", "status"), [(10, 2), (250, 0)])
def test_a_full_disk_of_the_controller_leaves_no_host_waiting(
    hosts: SlowHosts, inventory: Path, size: int, status: int
) -> None:
    """Before the token is on the disk nothing is armed; later on, only the journal is cut off."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = start(inventory, "apply", "inventory.yml", *QUICK, preexec_fn=limit)
    code, out, err = finish(process, 90)
    assert (code, "Traceback" in err) == (status, False), out + err
    states = dict.fromkeys(NAMES, "confirmed") if status == 0 else {}
    assert hosts.states == states
    message = "the journal of this change is incomplete" if status == 0 else "cannot be written"
    assert message in err, err


def test_a_terminal_that_takes_no_output_does_not_stop_a_change(
    hosts: SlowHosts, inventory: Path
) -> None:
    """Such as one that was stopped by Ctrl-S, or a pager that nobody scrolls."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b" " * 65536)
    os.set_blocking(write, True)
    process = start(inventory, "apply", "inventory.yml", "-v", *QUICK, stderr=write)
    out, _ = process.communicate(timeout=60)
    assert hosts.states == dict.fromkeys(NAMES, "confirmed"), out
    assert process.returncode == 1
    os.close(read)
    os.close(write)

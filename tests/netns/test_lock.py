"""The lock of an inventory on a host: only root can hold it, and no wait for it is endless."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provision.resources import script
from provision.resources.render import program_text, render
from provision.resources.steps import Run
from provision.transport.base import Output
from tests.netns.guarded import Guarded
from tests.netns.test_kinds import HOST, NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

LOCK = "/run/provision-demo.lock"
USER = "setpriv --reuid=65534 --regid=65534 --clear-groups"
"""A user without rights."""


def change(namespace: Namespace, seconds: int = 2) -> Output:
    """Run a change that prints the mode and the owner of the lock that it holds."""
    steps = (Run(("stat", "-c", "%a %U %F", LOCK)),)
    text = script.render([steps], nonce="n0", lock=LOCK)
    text = text.replace(f"{LOCK} {script.LOCK_WAIT_S}\n", f"{LOCK} {seconds}\n")
    return namespace.transport.run(HOST, text, timeout_s=30)


def result(output: Output) -> str:
    """The output of the change's only operation."""
    (outcome,) = script.read(output.stdout, nonce="n0", count=1)
    assert outcome is not None and outcome.status == 0, output
    return outcome.output


@contextmanager
def holder(namespace: Namespace, prefix: str = "") -> Iterator[str]:
    """A process that holds the lock; yields its PID."""
    hold = f"{prefix} flock -o {LOCK} sleep 60 >/dev/null 2>&1 & echo $!"
    pid = namespace.sh(hold).strip()
    # No probe before it has the file open: a probe that has the lock would make it wait.
    held = f"for n in $(seq 200); do flock -n {LOCK} true || exit 0; sleep 0.1; done; exit 1"
    namespace.sh(f"until [ /proc/{pid}/fd/3 -ef {LOCK} ]; do sleep 0.05; done; {held}")
    yield pid
    namespace.sh(f"kill {pid} 2>/dev/null; :")


def test_the_lock_is_roots_alone(namespace: Namespace) -> None:
    """Whoever can open a file can lock it, also for reading only."""
    assert result(change(namespace)) == "600 root regular empty file"
    denied = namespace.sh(f"{USER} flock -n {LOCK} true 2>&1 || :")
    assert "Permission denied" in denied


def test_a_user_who_holds_the_lock_of_an_older_version_stops_nobody(namespace: Namespace) -> None:
    """Version 0.1.0 made it readable for all, and every apply waited 60 s and failed."""
    namespace.sh(f"umask 022; : >{LOCK}")
    with holder(namespace, USER):
        started = time.monotonic()
        assert result(change(namespace)) == "600 root regular empty file"
        assert time.monotonic() - started < 15


def test_a_change_waits_for_a_follower_of_an_older_version(namespace: Namespace) -> None:
    """It holds the old lock for the moment in which it restores routes."""
    namespace.sh(f"umask 022; : >{LOCK}")
    namespace.sh(f"flock {LOCK} sh -c 'sleep 2; date +%s.%N >/run/ended' >/dev/null 2>&1 &")
    time.sleep(0.3)
    result(change(namespace))
    assert namespace.sh("cat /run/ended")


def test_a_held_lock_ends_a_change_and_names_the_holder(namespace: Namespace) -> None:
    """Status 75 after the limit."""
    result(change(namespace))
    with holder(namespace) as pid:
        output = change(namespace, seconds=1)
    assert output.status == script.LOCKED
    assert f"{LOCK} is held by process {pid} (flock) of root" in output.stdout


@pytest.mark.parametrize("kind", ["ln -s /etc/passwd", "mkfifo"])
def test_what_is_in_place_of_the_lock_is_replaced(namespace: Namespace, kind: str) -> None:
    """No link is followed, and a pipe is not waited for."""
    before = namespace.sh("sha256sum </etc/passwd; stat -c %a /etc/passwd")
    namespace.sh(f"{kind} {LOCK}")
    assert result(change(namespace)) == "600 root regular empty file"
    assert namespace.sh("sha256sum </etc/passwd; stat -c %a /etc/passwd") == before


def follower(limit: int) -> str:
    """The follower's script without links, which waits `limit` seconds for the lock."""
    text = render(
        "common/follow.sh.j2",
        inventory=NAME,
        links=[],
        rules=[],
        prerouting=False,
        tables=False,
        forwards=False,
        bridges=[],
        ports=False,
        devices=[],
        flannels=[],
        ends=False,
        lock=LOCK,
        holders=program_text("host/lock_holders.sh").strip(),
        networkd_link="",
    )
    assert "flock -o -w 60 -E 75" in text
    return text.replace("-w 60", f"-w {limit}")


START = f"""
mkdir -p /run/follow /etc/provision/{NAME}
printf '#!/bin/sh\\necho ran >>/run/ran\\nflock -n {LOCK} true || echo held >>/run/ran\\n' \\
  >/etc/provision/{NAME}/volatile.sh
chmod 755 /etc/provision/{NAME}/volatile.sh
cat >/run/follow.sh
"""


@contextmanager
def running(namespace: Namespace, limit: int = 1) -> Iterator[None]:
    """The follower runs as a process group of its own, with its messages in /run/told."""
    namespace.sh(
        START.replace("cat >/run/follow.sh", f"cat >/run/follow.sh <<'@end'\n{follower(limit)}@end")
    )
    run = "RUNTIME_DIRECTORY=/run/follow setsid sh /run/follow.sh"
    pid = namespace.sh(f"umask 022; {run} >/run/told 2>&1 & echo $!; sleep 1").strip()
    try:
        yield
    finally:
        namespace.sh(f"kill -TERM -- -{pid} 2>/dev/null; :")


def test_the_followers_files_are_roots_alone(namespace: Namespace) -> None:
    """A user could hold its lock, or read its events away."""
    with running(namespace):
        modes = namespace.sh(f"stat -c %a {LOCK} /run/follow/events; cat /run/ran")
    assert modes == "600\n600\nran\nheld\n"


def test_the_follower_names_who_holds_its_lock(namespace: Namespace) -> None:
    """It waited without end and without a word; now it says so, and runs when the lock is free."""
    result(change(namespace))
    with holder(namespace) as pid, running(namespace):
        time.sleep(2)
        told = namespace.sh("cat /run/told")
        assert f"{LOCK} is held by process {pid} (flock) of root" in told
        namespace.sh(f"kill {pid}")
        time.sleep(4)
        assert namespace.sh("cat /run/ran").startswith("ran\n")


def test_a_rollback_notes_who_holds_the_lock_and_goes_on(namespace: Namespace) -> None:
    """A held lock delays a rollback by seconds; its record has the holder."""
    guarded = Guarded(namespace)
    guarded.arm()
    assert guarded.act().status == 0
    with holder(namespace) as pid:
        record = guarded.revert()
    assert record.result == "reverted"
    assert f"{LOCK} is held by process {pid} (flock) of root" in record.log
    assert namespace.sh(f"stat -c %a {LOCK} 2>/dev/null || echo gone") == "gone\n"


def test_a_rollback_follows_no_link_in_place_of_the_lock(namespace: Namespace) -> None:
    """It goes on without a lock."""
    guarded = Guarded(namespace)
    guarded.arm()
    namespace.sh(f"rm -f {LOCK}; mkdir /run/other; ln -s /run/other/file {LOCK}")
    assert guarded.act().status == 0
    assert guarded.revert().result == "reverted"
    assert namespace.sh("ls -A /run/other") == ""

"""Who watches a host: a unit where systemd is PID 1, else a detached process of its own.

What runs is found by looking at the machine's processes, never by a record, so that a crash
of anything leaves nothing that `down` cannot find.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab import cgroup, namespace
from provision.lab.machine import command
from provision.lab.place import HostFiles, Place
from provision.lab.tools import run, succeeds
from provision.model.errors import LabError
from provision.resources.render import render

_UNITS = Path("/run/systemd/system")
_LEFT = Path("/run/systemd/nspawn")


@dataclass(slots=True)
class Running:
    """Process ids of a lab: each host's systemd-nspawn and its watchers, and all there are."""

    machines: dict[str, int] = field(default_factory=dict)
    watchers: dict[str, list[int]] = field(default_factory=dict)
    every: list[int] = field(default_factory=list)


def by_systemd() -> bool:
    return _UNITS.is_dir()


def running(place: Place) -> Running:
    """What runs of the lab now."""
    found = Running()
    for pid, words in _processes():
        program = Path(words[0]).name
        if program == "sh" and (script := Path(words[1])).parent.parent == place.state:
            found.every.append(pid)
            if script.name == "supervisor.sh":
                found.watchers.setdefault(script.parent.name, []).append(pid)
        elif names := [word for word in words if word.startswith(f"--machine={place.tag}-")]:
            found.every.append(pid)
            if program == "systemd-nspawn":
                found.machines[names[0].rpartition("-")[2]] = pid
    return found


def _processes() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
                # One word at least, and the empty one after the last zero byte.
                yield int(entry.name), words if len(words) > 1 else ["", ""]


def watched(seat: HostFiles) -> bool:
    """Is there somebody who runs the host, or starts it again after a reboot?"""
    if by_systemd():
        return succeeds(("systemctl", "is-active", "--quiet", seat.unit))
    return seat.host in running(seat.place).watchers


def start(seat: HostFiles, packages: Path | None) -> None:
    """Start the host's machine; it goes on when this process and its terminal are gone."""
    _clear_left_over(seat)
    if by_systemd():
        _start_unit(seat, packages)
        return
    # What a machine leaves whose watchers were all killed. Afresh, since Linux 6.18 was seen to
    # kill new processes in a group that had been told to kill once.
    cgroup.kill(cgroup.folders(seat))
    cgroup.remove(cgroup.folders(seat))
    cgroup.ensure(seat.place)
    with seat.console.open("a") as console:
        subprocess.Popen(
            ("sh", str(seat.script)),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            cwd="/",
        )


def _start_unit(seat: HostFiles, packages: Path | None) -> None:
    words = (f'"{word}"' for word in command(seat, packages))
    unit = render(
        "lab/host.service.j2",
        folder=seat.place.folder,
        host=seat.host,
        command=" ".join(words),
        attach=seat.path / "attach.sh",
        console=seat.console,
    )
    (_UNITS / seat.unit).write_text(unit)
    run(("systemctl", "daemon-reload"))
    run(("systemctl", "start", seat.unit))


def _clear_left_over(seat: HostFiles) -> None:
    """What a machine that died hard leaves behind, and the next start would refuse."""
    namespace.clear(seat)
    for folder in (_LEFT / "propagate" / seat.machine, _LEFT / "unix-export" / seat.machine):
        if folder.is_dir():
            succeeds(("umount", "--recursive", str(folder)))
            folder.rmdir()


def cut_power(seat: HostFiles) -> None:
    """End the host as a power cut would; it stays off."""
    pid = running(seat.place).machines.get(seat.host)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_off(seat)


def wait_until_off(seat: HostFiles, *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        now = running(seat.place)
        if seat.host not in now.machines and seat.host not in now.watchers:
            return
        if time.monotonic() > deadline:
            raise LabError(f"{seat.host} still runs after {timeout_s:g} s")
        time.sleep(0.1)


def stop_all(place: Place) -> None:
    """End every host at once, and what watches it."""
    _stop_units(place)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = running(place)
        if not now.every:
            break
        # Watchers first: they would start a machine again.
        for pid in (*itertools.chain(*now.watchers.values()), *now.every):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroup.kill(cgroup.of(place))
        time.sleep(0.1)
    cgroup.kill(cgroup.of(place))


def _stop_units(place: Place) -> None:
    units = [path.name for path in _UNITS.glob(f"provision-lab-{place.tag}-h*.service")]
    if not units:
        return
    succeeds(("systemctl", "kill", "--signal=KILL", *units))
    succeeds(("systemctl", "stop", *units))
    for unit in units:
        (_UNITS / unit).unlink()
    succeeds(("systemctl", "daemon-reload"))
    succeeds(("systemctl", "reset-failed", *units))


def unlock(place: Place) -> None:
    """Delete the locks of trees whose machine was killed; while the trees are still mounted."""
    for tree in place.state.glob("h*/merged"):
        about = tree.stat()
        (_LEFT / f"locks/inode-{about.st_dev}:{about.st_ino}").unlink(missing_ok=True)


def remove(place: Place) -> None:
    """Delete what systemd-nspawn and the control groups left behind."""
    for kind in ("propagate", "unix-export"):
        for folder in (_LEFT / kind).glob(f"{place.tag}-h*"):
            _clear_left_over(place.seat(folder.name.removeprefix(f"{place.tag}-")))
    for folder in (_LEFT / "propagate", _LEFT / "unix-export", _LEFT / "locks", _LEFT):
        with contextlib.suppress(OSError):
            folder.rmdir()
    cgroup.remove(cgroup.of(place))

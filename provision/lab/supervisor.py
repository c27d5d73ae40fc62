"""Supervision of a host: a unit where systemd is PID 1, else a detached shell script.

Running processes are found in /proc, never from a record: whatever crashes, `down` finds them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab import cgroup, namespace
from provision.lab.layout import Lab, LabHost
from provision.lab.machine import command
from provision.lab.tools import run, succeeds
from provision.model.errors import LabError
from provision.resources.render import render

_UNITS = Path("/run/systemd/system")
_NSPAWN = Path("/run/systemd/nspawn")
_EXPORTS = ("propagate", "unix-export")
"""Folders of systemd-nspawn with a mount for each machine; `unix-export` since systemd 256."""


@dataclass(slots=True)
class Running:
    """Process ids of a lab: systemd-nspawn and supervisors by host, and `pids` of them all.

    `dhcp` is its DHCP server.
    """

    machines: dict[str, int] = field(default_factory=dict)
    watchers: dict[str, list[int]] = field(default_factory=dict)
    dhcp: list[int] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)


def by_systemd() -> bool:
    """True if systemd is PID 1 here, as sd_booted(3) decides it."""
    return _UNITS.is_dir()


def running(lab: Lab) -> Running:
    """The lab's running processes."""
    processes, option = Running(), f"--machine={lab.tag}-"
    for pid, argv in _processes():
        program = Path(argv[0]).name
        if program == "sh" and (script := Path(argv[1])).parent.parent == lab.state:
            processes.pids.append(pid)
            if script.name == "supervisor.sh":
                processes.watchers.setdefault(script.parent.name, []).append(pid)
        elif program == "dnsmasq" and f"--conf-file={lab.dhcp}/dnsmasq.conf" in argv:
            processes.dhcp.append(pid)
            processes.pids.append(pid)
        elif machine := next((a for a in argv if a.startswith(option)), ""):
            processes.pids.append(pid)
            if program == "systemd-nspawn":
                processes.machines[machine.removeprefix(option)] = pid
    return processes


def _processes() -> Iterator[tuple[int, list[str]]]:
    """Process id and argument vector (two strings at least) of every process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # proc(5): each argument ends with a NUL byte, so the last string is empty. The
                # whole file is empty for zombies and kernel threads.
                argv = (entry / "cmdline").read_text(errors="replace").split("\0")
                yield int(entry.name), argv if len(argv) > 1 else ["", ""]


def watched(host: LabHost) -> bool:
    """True if the host's supervisor runs, which boots the host again after a reboot."""
    if by_systemd():
        return succeeds(("systemctl", "is-active", "--quiet", host.unit))
    return host.name in running(host.lab).watchers


def start(host: LabHost, packages: Path | None) -> None:
    """Boot the host; it keeps running when this process and its terminal have ended."""
    _clear_leftovers(host)
    if by_systemd():
        _start_unit(host, packages)
        return
    # A machine runs on when all its supervisors were killed. Its groups are created anew: on
    # Linux 6.18, new processes died in a group whose cgroup.kill had been written before.
    cgroup.kill(cgroup.folders(host))
    cgroup.remove(cgroup.folders(host))
    cgroup.ensure(host.lab)
    with host.console.open("a") as console:
        subprocess.Popen(
            ("sh", str(host.script)),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            cwd="/",
        )


def _start_unit(host: LabHost, packages: Path | None) -> None:
    argv = (f'"{argument}"' for argument in command(host, packages))
    unit = render(
        "lab/host.service.j2",
        folder=host.lab.folder,
        host=host.name,
        command=" ".join(argv),
        attach=host.path / "attach.sh",
        console=host.console,
    )
    (_UNITS / host.unit).write_text(unit)
    run(("systemctl", "daemon-reload"))
    run(("systemctl", "start", host.unit))


def _clear_leftovers(host: LabHost) -> None:
    """Delete the interfaces and mounts of a killed machine, which would make its start fail."""
    namespace.clear(host)
    for folder in (_NSPAWN / name / host.machine for name in _EXPORTS):
        if folder.is_dir():
            succeeds(("umount", "--recursive", str(folder)))
            folder.rmdir()


def cut_power(host: LabHost) -> None:
    """End the host like a power cut; it stays off."""
    pid = running(host.lab).machines.get(host.name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_off(host)


def wait_until_off(host: LabHost, *, timeout_s: float = 60) -> None:
    """Wait for the end of the host's machine and supervisor. Raises LabError at the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        processes = running(host.lab)
        if host.name not in processes.machines and host.name not in processes.watchers:
            return
        if time.monotonic() > deadline:
            raise LabError(
                f"{host.name} still runs after {timeout_s:g} s", "end it: provision lab down"
            )
        time.sleep(0.1)


def stop_all(lab: Lab) -> None:
    """Kill all hosts of the lab and their supervisors."""
    _stop_units(lab)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        processes = running(lab)
        if not processes.pids:
            break
        # Supervisors first: they would boot a killed machine again if it had just rebooted.
        for pid in (*itertools.chain(*processes.watchers.values()), *processes.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroup.kill(cgroup.of(lab))
        time.sleep(0.1)
    cgroup.kill(cgroup.of(lab))


def _stop_units(lab: Lab) -> None:
    units = [path.name for path in _UNITS.glob(f"provision-lab-{lab.tag}-h*.service")]
    if not units:
        return
    succeeds(("systemctl", "kill", "--signal=KILL", *units))
    succeeds(("systemctl", "stop", *units))
    for unit in units:
        (_UNITS / unit).unlink()
    succeeds(("systemctl", "daemon-reload"))
    # A killed unit stays listed as failed, even without its file, until it is reset.
    succeeds(("systemctl", "reset-failed", *units))


def unlock(lab: Lab) -> None:
    """Delete systemd-nspawn's lock files of the lab's trees. Call it while they are mounted."""
    for tree in lab.state.glob("h*/merged"):
        # The file's name holds the device and inode of the mounted root.
        stat = tree.stat()
        (_NSPAWN / f"locks/inode-{stat.st_dev}:{stat.st_ino}").unlink(missing_ok=True)


def remove(lab: Lab) -> None:
    """Delete the lab's leftovers of systemd-nspawn, and its control groups."""
    for folder in itertools.chain(*((_NSPAWN / n).glob(f"{lab.tag}-h*") for n in _EXPORTS)):
        _clear_leftovers(lab.host(folder.name.removeprefix(f"{lab.tag}-")))
    _remove_empty((*(_NSPAWN / name for name in (*_EXPORTS, "locks")), _NSPAWN))
    cgroup.remove(cgroup.of(lab))


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()

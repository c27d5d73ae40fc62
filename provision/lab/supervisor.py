"""Supervision of a host: a unit where systemd is PID 1, else a detached shell script.

Running processes are found in /proc, never from a record: whatever crashes, `down` finds them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from provision.lab import cgroup, kernels
from provision.lab.layout import Lab, LabHost
from provision.lab.nspawn import EXPORTS, FOLDER
from provision.lab.tools import run, succeeds
from provision.model.errors import LabError
from provision.resources.render import render

_UNITS = Path("/run/systemd/system")


@dataclass(slots=True)
class Running:
    """Process ids of a lab: main processes and supervisors by host, and `pids` of them all.

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
    processes = Running()
    for pid, argv in _processes():
        program = Path(argv[0]).name
        if program == "sh" and (script := Path(argv[1])).parent.parent == lab.state:
            processes.pids.append(pid)
            if script.name == "supervisor.sh":
                processes.watchers.setdefault(script.parent.name, []).append(pid)
        elif program == "dnsmasq" and f"--conf-file={lab.dhcp}/dnsmasq.conf" in argv:
            processes.dhcp.append(pid)
            processes.pids.append(pid)
        for machine in kernels.MACHINES.values():
            if name := machine.host_name(argv, lab.tag):
                processes.pids.append(pid)
                # One that has just ended has no parent: a kernel of its own ends many processes.
                parent = _parent(pid)
                if parent and machine.is_main(argv, parent):
                    processes.machines[name] = pid
    return processes


def _parent(pid: int) -> list[str]:
    """The argument vector of a process's parent; empty when either has ended."""
    with contextlib.suppress(OSError):
        # proc(5): the name, in brackets, may hold spaces; the parent is the second field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return Path(f"/proc/{fields[1]}/cmdline").read_text(errors="replace").split("\0")
    return []


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
    machine = kernels.machine_of(host.lab)
    machine.stop(host)
    attach, command = machine.attach(host), machine.command(host, packages)
    if by_systemd():
        _start_unit(host, command, attach)
        return
    # A machine runs on when all its supervisors were killed. Its groups are created anew: on
    # Linux 6.18, new processes died in a group whose cgroup.kill had been written before.
    cgroup.kill(cgroup.folders(host))
    cgroup.remove(cgroup.folders(host))
    cgroup.ensure(host.lab)
    names = {"host": host.name, "cgroups": cgroup.folders(host), "attach": attach}
    text = render("lab/supervisor.sh.j2", **names, command=shlex.join(command))
    host.script.write_text(text)
    with host.console.open("a") as console:
        subprocess.Popen(
            ("sh", str(host.script)),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            cwd="/",
        )


def _start_unit(host: LabHost, command: tuple[str, ...], attach: Path | None) -> None:
    argv = (f'"{argument}"' for argument in command)
    unit = render(
        "lab/host.service.j2",
        folder=host.lab.folder,
        host=host.name,
        command=" ".join(argv),
        attach=attach,
        console=host.console,
    )
    (_UNITS / host.unit).write_text(unit)
    run(("systemctl", "daemon-reload"))
    run(("systemctl", "start", host.unit))


def cut_power(host: LabHost) -> None:
    """End the host like a power cut; it stays off."""
    pid = running(host.lab).machines.get(host.name)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_off(host)


def wait_until_off(host: LabHost) -> None:
    """Wait for the end of the host's machine and supervisor. Raises LabError at the timeout."""
    timeout_s = 60 * kernels.machine_of(host.lab).slowness
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
        (FOLDER / f"locks/inode-{stat.st_dev}:{stat.st_ino}").unlink(missing_ok=True)


def remove(lab: Lab) -> None:
    """Delete the lab's leftovers of systemd-nspawn, and its control groups."""
    for folder in itertools.chain(*((FOLDER / n).glob(f"{lab.tag}-h*") for n in EXPORTS)):
        name = folder.name.removeprefix(f"{lab.tag}-")
        kernels.MACHINES["shared"].stop(lab.host(name))
    _remove_empty((*(FOLDER / name for name in (*EXPORTS, "locks")), FOLDER))
    cgroup.remove(cgroup.of(lab))


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()

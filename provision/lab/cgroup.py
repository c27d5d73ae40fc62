"""A control group for each host, where no systemd on this machine creates one.

Without it all hosts would share one group, and stopping a service on one host could kill the
same service on the others.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from provision.lab.layout import Lab, LabHost

ROOT = Path("/sys/fs/cgroup")


def _hierarchies() -> tuple[Path, ...]:
    # Pure cgroup v2 is mounted at the root. In hybrid mode it is at `unified`, beside the v1
    # hierarchy `systemd`, in which systemd-nspawn mirrors the machine's group.
    if (ROOT / "cgroup.procs").exists():
        return (ROOT,)
    return tuple(ROOT / name for name in ("unified", "systemd") if (ROOT / name).is_dir())


def ensure(lab: Lab) -> None:
    """Create the lab's group, and delegate to it the controllers that Docker sets limits by."""
    for root in _hierarchies():
        group = root / f"provision-lab-{lab.tag}"
        group.mkdir(exist_ok=True)
        # cgroup v2: a group's controllers reach its children only through subtree_control.
        for parent in (root, group) if root == ROOT else ():
            names = (parent / "cgroup.controllers").read_text().split()
            # EBUSY when the group holds processes ("no internal processes"): then this machine,
            # often a container itself, does not let us delegate, and Docker goes without limits.
            with contextlib.suppress(OSError):
                (parent / "cgroup.subtree_control").write_text(" ".join(f"+{n}" for n in names))


def folders(host: LabHost) -> tuple[Path, ...]:
    """The host's control groups, one for each hierarchy."""
    return tuple(root / f"provision-lab-{host.lab.tag}" / host.name for root in _hierarchies())


def kill(groups: Iterable[Path]) -> None:
    """Kill every process in these groups and below, by `cgroup.kill` (Linux 5.14)."""
    for group in groups:
        kill_file = group / "cgroup.kill"
        if kill_file.exists():
            kill_file.write_text("1")


def remove(groups: Iterable[Path]) -> None:
    """Delete groups; a group stays busy for a moment after its last process has ended."""
    deadline = time.monotonic() + 10
    while (left := [group for group in groups if group.is_dir()]) and time.monotonic() < deadline:
        for group in left:
            for path in sorted((*group.rglob("*/"), group), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
        time.sleep(0.02)


def of(lab: Lab) -> list[Path]:
    """The lab's control groups that exist."""
    groups = (root / f"provision-lab-{lab.tag}" for root in _hierarchies())
    return [group for group in groups if group.is_dir()]

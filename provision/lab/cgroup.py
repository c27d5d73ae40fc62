"""Each host's own control group, where no systemd of the machine gives it one.

Without it all hosts would share one group, and a service stopped on one host could take the
same service of the others with it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from provision.lab.place import HostFiles, Place

ROOT = Path("/sys/fs/cgroup")


def _trees() -> tuple[Path, ...]:
    # Pure version 2, or beside version 1; systemd-nspawn mirrors its place in `systemd`.
    if (ROOT / "cgroup.procs").exists():
        return (ROOT,)
    return tuple(ROOT / name for name in ("unified", "systemd") if (ROOT / name).is_dir())


def ensure(place: Place) -> None:
    """Make the lab's group, and hand on to it what limits Docker may set on containers."""
    for tree in _trees():
        folder = tree / f"provision-lab-{place.tag}"
        folder.mkdir(exist_ok=True)
        for above in (tree, folder) if tree == ROOT else ():
            names = (above / "cgroup.controllers").read_text().split()
            # One that cannot be handed on is one that the machine does not give.
            with contextlib.suppress(OSError):
                (above / "cgroup.subtree_control").write_text(" ".join(f"+{n}" for n in names))


def folders(seat: HostFiles) -> tuple[Path, ...]:
    """The host's own groups."""
    return tuple(tree / f"provision-lab-{seat.place.tag}" / seat.host for tree in _trees())


def kill(groups: Iterable[Path]) -> None:
    """Kill whatever runs in these groups and below (Linux 5.14)."""
    for folder in groups:
        switch = folder / "cgroup.kill"
        if switch.exists():
            switch.write_text("1")


def remove(groups: Iterable[Path]) -> None:
    """Delete groups; the kernel needs a moment to let go of ended processes."""
    deadline = time.monotonic() + 10
    while (left := [group for group in groups if group.is_dir()]) and time.monotonic() < deadline:
        for group in left:
            for path in sorted((*group.rglob("*/"), group), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
        time.sleep(0.02)


def of(place: Place) -> list[Path]:
    """The lab's own groups, as far as they are there."""
    found = (tree / f"provision-lab-{place.tag}" for tree in _trees())
    return [folder for folder in found if folder.is_dir()]

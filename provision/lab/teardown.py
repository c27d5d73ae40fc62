"""`down`: ends and deletes everything of a lab, in whatever state an earlier run left it.

Processes, mounts and interfaces are found by their names on the machine, not from a record.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from provision.lab import base, cache, examples, keys, limits, namespace, settings, supervisor
from provision.lab.layout import CACHE, Lab
from provision.lab.lock import locked
from provision.lab.tools import require_root
from provision.model.errors import LabError
from provision.model.text import count

Say = Callable[[str], None]


def down(lab: Lab, *, purge: bool = False, say: Say) -> None:
    """Remove the lab from the machine; with `purge` the base trees, too. Raises LabError."""
    require_root("down")
    if _exists(lab):
        with locked(lab):
            # In the order of dependence: processes hold mounts, mounts and namespaces hold files.
            supervisor.stop_all(lab)
            supervisor.unlock(lab)
            _unmount(lab)
            supervisor.remove(lab)
            namespace.remove(lab)
            limits.restore(lab, say)
            _delete_files(lab)
        say(f"Removed the lab in {lab.folder}")
    else:
        say(f"No lab in {lab.folder}")
    cache.remove_half_built()
    if purge:
        base.purge()
    elif trees := len(list(CACHE.glob("[a-z]*-*"))):
        say(f"Kept {count(trees, 'base tree')} in {CACHE} (`down --purge` deletes them)")


def _exists(lab: Lab) -> bool:
    """True if anything of the lab is on the machine."""
    processes = supervisor.running(lab)
    return (
        lab.state.exists()
        or namespace.path(lab).exists()
        or any(Path("/sys/class/net", link).exists() for link in lab.links)
        or bool(processes.pids or _mounts(lab))
    )


def _mounts(lab: Lab) -> list[str]:
    """Mount points below the lab's state folder, the deepest first."""
    below = f"{lab.state}/"
    points = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted((point for point in points if point.startswith(below)), reverse=True)


def _unmount(lab: Lab) -> None:
    # A killed process leaves /proc before the kernel drops its references to the mount, so
    # umount may fail with EBUSY for a moment.
    deadline = time.monotonic() + 20
    stderr = ""
    while points := _mounts(lab):
        if time.monotonic() > deadline:
            raise LabError(
                f"{points[0]} cannot be unmounted: {stderr}",
                f"find and end the processes that use it: fuser -vm {points[0]}",
            )
        for point in points:
            process = subprocess.run(("umount", point), capture_output=True, text=True)
            stderr = process.stderr.strip() or stderr
        if _mounts(lab):
            time.sleep(0.1)


def _delete_files(lab: Lab) -> None:
    # Deleting through a mount would delete the files of a running host, or of a bind's source.
    if mounts := _mounts(lab):
        raise LabError(
            f"{mounts[0]} is mounted: nothing below {lab.state} was deleted",
            f"umount {mounts[0]}, then provision lab down",
        )
    for path in keys.files(lab):
        path.unlink(missing_ok=True)
    if current := settings.load(lab):
        examples.remove(lab, current.ranges)
    shutil.rmtree(lab.state)
    with contextlib.suppress(OSError):
        # Fails when the folder is not empty: it has files that are not the lab's.
        lab.dot.rmdir()

"""`down`: ends and deletes what is there, found by name and by looking, in any state."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from provision.lab import base, keys, limits, namespace, supervisor
from provision.lab.lock import locked
from provision.lab.place import CACHE, Place
from provision.lab.tools import require_root
from provision.model.errors import LabError

Say = Callable[[str], None]


def down(place: Place, *, purge: bool = False, say: Say) -> None:
    """Leave nothing of the lab on the machine; base trees stay unless `purge`. Raises LabError."""
    require_root("down")
    if _something_left(place):
        with locked(place):
            supervisor.stop_all(place)
            supervisor.unlock(place)
            _unmount(place)
            supervisor.remove(place)
            namespace.remove(place)
            limits.restore(place, say)
            _delete_files(place)
        say(f"the lab in {place.folder} is gone")
    else:
        say(f"no lab in {place.folder}")
    base.remove_half_built()
    if purge:
        base.purge()
    elif trees := sorted(path.name for path in CACHE.glob("[a-z]*-*")):
        say(f"kept for the next lab: {CACHE}/{{{','.join(trees)}}} (`down --purge` deletes them)")


def _something_left(place: Place) -> bool:
    now = supervisor.running(place)
    return (
        place.state.exists()
        or namespace.path(place).exists()
        or any(Path("/sys/class/net", link).exists() for link in place.links)
        or bool(now.every or _mounts(place))
    )


def _mounts(place: Place) -> list[str]:
    below = f"{place.state}/"
    points = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted((point for point in points if point.startswith(below)), reverse=True)


def _unmount(place: Place) -> None:
    # Ended processes let go of their tree a moment after they are gone from /proc.
    deadline = time.monotonic() + 20
    said = ""
    while points := _mounts(place):
        if time.monotonic() > deadline:
            raise LabError(
                f"{points[0]} cannot be unmounted: {said}", "end what uses it (fuser -vm)"
            )
        for point in points:
            done = subprocess.run(("umount", point), capture_output=True, text=True)
            said = done.stderr.strip() or said
        if _mounts(place):
            time.sleep(0.1)


def _delete_files(place: Place) -> None:
    if _mounts(place):
        raise LabError(f"something is mounted below {place.state}: nothing deleted")
    for path in keys.files(place):
        path.unlink(missing_ok=True)
    shutil.rmtree(place.state)
    with contextlib.suppress(OSError):
        # Not empty: the folder holds something that is not the lab's.
        place.dot.rmdir()

"""Kernel limits that many hosts need, since all of them share the machine's root user.

The first values are written down before anything is raised, once for the whole machine: the
last lab to go puts them back, also when an `up` died half way.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.lab.place import Place

RECORD = Path("/run/provision-lab")
_SYS = Path("/proc/sys")
_BOOT_ID = _SYS / "kernel/random/boot_id"
# 50 hosts: systemd needs inotify instances (128 by default lasts for about 18 hosts), each
# service has a session keyring (200 keys of 20000 bytes for a user that is not root).
_LEAST = {
    "fs/inotify/max_user_instances": (8192, 64),
    "kernel/keys/maxkeys": (20000, 200),
    "kernel/keys/maxbytes": (2000000, 20000),
    # All namespaces share the table of neighbours; in a full mesh it grows with the square.
    "net/ipv4/neigh/default/gc_thresh2": (8192, 200),
    "net/ipv4/neigh/default/gc_thresh3": (16384, 400),
}

Say = Callable[[str], None]


def needed(hosts: int) -> dict[str, int]:
    """Least values for so many hosts, by path below /proc/sys. Pure."""
    return {name: max(floor, each * hosts) for name, (floor, each) in _LEAST.items()}


def raise_for(place: Place, hosts: int, say: Say) -> None:
    """Raise what is too low, and write down that this lab counts on it."""
    with _record() as record:
        record["labs"] = sorted({*record["labs"], str(place.folder)})
        wanted = {name: least for name, least in needed(hosts).items() if _value(name) < least}
        for name, least in wanted.items():
            record["was"].setdefault(name, _value(name))
            record["set"][name] = least
        _write(record)
        for name, least in wanted.items():
            say(f"raising {_dotted(name)} from {_value(name)} to {least} (`down` puts it back)")
            (_SYS / name).write_text(str(least))


def restore(place: Place, say: Say) -> None:
    """Put the first values back when no other lab is left."""
    if not RECORD.exists():
        return
    with _record() as record:
        record["labs"] = [lab for lab in record["labs"] if lab != str(place.folder)]
        if not record["labs"]:
            _put_back(record, say)


def _put_back(record: dict[str, Any], say: Say) -> None:
    for name, first in record["was"].items():
        if _value(name) == record["set"].get(name):
            (_SYS / name).write_text(str(first))
        elif _value(name) != first:
            say(f"{_dotted(name)} was changed by others since: left at {_value(name)}")


@contextmanager
def _record() -> Iterator[dict[str, Any]]:
    with _lock():
        record = _read()
        yield record
        if record["labs"]:
            _write(record)
        else:
            _file().unlink(missing_ok=True)
            (RECORD / "lock").unlink()
            RECORD.rmdir()


@contextmanager
def _lock() -> Iterator[None]:
    while True:
        RECORD.mkdir(exist_ok=True)
        with (RECORD / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The last lab of another process may have deleted the file while we waited.
            if _same(file.fileno(), RECORD / "lock"):
                yield
                return


def _same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino


def _read() -> dict[str, Any]:
    empty: dict[str, Any] = {"boot": _boot(), "labs": [], "was": {}, "set": {}}
    record = json.loads(_file().read_text()) if _file().exists() else empty
    if record["boot"] != _boot():
        # /run may outlive a reboot; the limits do not.
        return empty
    # A lab whose folder was deleted by hand counts no more.
    record["labs"] = [lab for lab in record["labs"] if Place(Path(lab)).state.exists()]
    return dict(record)


def _write(record: dict[str, Any]) -> None:
    fresh = _file().with_suffix(".new")
    fresh.write_text(json.dumps(record))
    fresh.rename(_file())


def _file() -> Path:
    return RECORD / "limits.json"


def _value(name: str) -> int:
    return int((_SYS / name).read_text())


def _boot() -> str:
    return _BOOT_ID.read_text().strip()


def _dotted(name: str) -> str:
    return name.replace("/", ".")

"""Kernel limits that many hosts exceed, since all of them share this machine's kernel and users.

The original values are recorded before anything is raised, once for the whole machine. The last
lab to go restores them, also after an `up` that died half way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.lab.layout import Lab
from provision.model.file_lock import locked

RECORD = Path("/run/provision-lab")
_SYS = Path("/proc/sys")
_BOOT_ID = _SYS / "kernel/random/boot_id"
# Name → (least value, value for each host). The least values are enough for 50 hosts.
_LEAST = {
    # systemd needs several inotify instances a host; the default of 128 is used up by 18 hosts.
    "fs/inotify/max_user_instances": (8192, 64),
    # Each service has a session keyring. A user other than root may own 200 keys of 20000 bytes
    # in all, and a system user such as messagebus is one user to the kernel on all hosts.
    "kernel/keys/maxkeys": (20000, 200),
    "kernel/keys/maxbytes": (2000000, 20000),
    # All network namespaces share one ARP table, whose entries grow with the square of the
    # hosts in a full mesh. Above gc_thresh3 (1024) the kernel logs "neighbour table overflow".
    "net/ipv4/neigh/default/gc_thresh2": (8192, 200),
    "net/ipv4/neigh/default/gc_thresh3": (16384, 400),
}

Say = Callable[[str], None]


def needed(hosts: int) -> dict[str, int]:
    """Least values for this number of hosts, by path below /proc/sys. Pure."""
    return {name: max(floor, each * hosts) for name, (floor, each) in _LEAST.items()}


def raise_for(lab: Lab, hosts: int, say: Say) -> None:
    """Raise the limits that are too low, and record that this lab depends on them."""
    with _record() as record:
        record["labs"] = sorted({*record["labs"], str(lab.folder)})
        low = {name: least for name, least in needed(hosts).items() if _value(name) < least}
        for name, least in low.items():
            record["was"].setdefault(name, _value(name))
            record["set"][name] = least
        # Recorded first: a crash between the two steps must not lose an original value.
        _write(record)
        for name, least in low.items():
            say(f"Raising {_dotted(name)} from {_value(name)} to {least} (`down` restores it)")
            (_SYS / name).write_text(str(least))


def restore(lab: Lab, say: Say) -> None:
    """Restore the original values when no other lab is left."""
    if not RECORD.exists():
        return
    with _record() as record:
        record["labs"] = [folder for folder in record["labs"] if folder != str(lab.folder)]
        if not record["labs"]:
            _put_back(record, say)


def _put_back(record: dict[str, Any], say: Say) -> None:
    for name, original in record["was"].items():
        if _value(name) == record["set"].get(name):
            (_SYS / name).write_text(str(original))
        elif _value(name) != original:
            say(f"Leaving {_dotted(name)} at {_value(name)}: something else changed it since `up`")


def labs() -> tuple[str, ...]:
    """The folders of the labs of this machine."""
    try:
        return tuple(_read()["labs"])
    except (OSError, ValueError, KeyError):  # another process changes the record now
        return ()


@contextmanager
def machine_lock() -> Iterator[None]:
    """Hold the lock that lets one lab of this machine choose its ranges at a time."""
    with _lock():
        try:
            yield
        finally:
            if not _file().exists():
                _delete_folder()


def _delete_folder() -> None:
    (RECORD / "lock").unlink()
    RECORD.rmdir()


@contextmanager
def _record() -> Iterator[dict[str, Any]]:
    """The record of the machine's labs, locked; written back at the end."""
    with _lock():
        record = _read()
        yield record
        if record["labs"]:
            _write(record)
        else:
            _file().unlink(missing_ok=True)
            _delete_folder()


@contextmanager
def _lock() -> Iterator[None]:
    while True:
        RECORD.mkdir(exist_ok=True)
        with locked(RECORD / "lock", create=True) as descriptor:
            # While we waited, another process may have ended the last lab and deleted the file.
            # Then we hold a lock on a file that nobody else can open: start again.
            if _same(descriptor, RECORD / "lock"):
                yield
                return


def _same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino


def _read() -> dict[str, Any]:
    empty: dict[str, Any] = {"boot": _boot(), "labs": [], "was": {}, "set": {}}
    record = json.loads(_file().read_text()) if _file().exists() else empty
    if record["boot"] != _boot():
        # In a container /run may outlive a reboot of the kernel; the raised limits do not.
        return empty
    # A lab whose folder the user deleted by hand no longer counts.
    record["labs"] = [folder for folder in record["labs"] if Lab(Path(folder)).state.exists()]
    return dict(record)


def _write(record: dict[str, Any]) -> None:
    new = _file().with_suffix(".new")
    new.write_text(json.dumps(record))
    new.rename(_file())


def _file() -> Path:
    return RECORD / "limits.json"


def _value(name: str) -> int:
    return int((_SYS / name).read_text())


def _boot() -> str:
    return _BOOT_ID.read_text().strip()


def _dotted(name: str) -> str:
    """The name as sysctl(8) writes it."""
    return name.replace("/", ".")

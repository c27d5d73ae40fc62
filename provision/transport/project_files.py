"""Files of a project that are used without being named: `.provision/ssh_config`, `known_hosts`."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from provision.model.errors import UsageError
from provision.model.fields.files import file_type
from provision.model.findings import BadValueError


def nearest(inventory: Path, name: str) -> Path | None:
    """The nearest file `.provision/NAME`, or None.

    Search the inventory's folder, its parents upwards, and last the working directory. Raises
    UsageError for a folder `.provision` that this user may not open: without its known_hosts, keys
    would look new. Also for a file of somebody else: an ssh_config runs commands, and anybody may
    put one into a folder such as /tmp.
    """
    folder = inventory.resolve().parent
    for directory in (folder, *folder.parents, Path.cwd()):
        path = directory / ".provision" / name
        try:
            if file_type(path) == stat.S_IFREG:
                _require_trusted(path, inventory)
                return path
        except BadValueError as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from error
    return None


def _require_trusted(path: Path, inventory: Path) -> None:
    """Raises UsageError unless the file is of this user, of root, or of the inventory's owner.

    The inventory itself may name options of ssh, so that its owner is trusted in any case. So is
    everybody who may write it, as on file systems of Windows, which know no permissions. Other
    people's files count in a folder of these three, as in a team's: its group is let in by them.
    """
    found, trusted, is_open = path.stat(), {0, os.geteuid()}, False
    with suppress(OSError):  # reading the inventory says so
        of_inventory = inventory.stat()
        trusted.add(of_inventory.st_uid)
        is_open = bool(of_inventory.st_mode & stat.S_IWOTH)
    folder = path.parents[1].stat()
    is_shared = folder.st_uid in trusted and not folder.st_mode & stat.S_IWOTH
    if found.st_uid not in trusted and not is_shared:
        hint = "move the inventory to a folder of your own, or make the file yours by chown"
        raise UsageError(f"{path} belongs to another user (uid {found.st_uid})", hint)
    if found.st_mode & stat.S_IWOTH and not is_open:
        raise UsageError(f"{path} can be written by everybody", f"run chmod o-w {path}")

"""Files of a project that are used without being named: `.provision/ssh_config`, `known_hosts`."""

from __future__ import annotations

import stat
from pathlib import Path

from provision.model.errors import UsageError
from provision.model.fields.files import file_type
from provision.model.findings import BadValueError


def nearest(inventory: Path, name: str) -> Path | None:
    """The nearest file `.provision/NAME`, or None.

    Search the inventory's folder, its parents upwards, and last the working directory. Raises
    UsageError for a folder `.provision` that this user may not open: without its known_hosts, keys
    would look new.
    """
    folder = inventory.resolve().parent
    for directory in (folder, *folder.parents, Path.cwd()):
        path = directory / ".provision" / name
        try:
            if file_type(path) == stat.S_IFREG:
                return path
        except BadValueError as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from error
    return None

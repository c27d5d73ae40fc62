"""Files of a project that are used without being named: `.provision/ssh_config`, `known_hosts`."""

from __future__ import annotations

from pathlib import Path


def nearest(inventory: Path, name: str) -> Path | None:
    """The nearest file `.provision/NAME`, or None.

    Search the inventory's folder, its parents upwards, and last the working directory.
    """
    folder = inventory.resolve().parent
    for directory in (folder, *folder.parents, Path.cwd()):
        path = directory / ".provision" / name
        if path.is_file():
            return path
    return None

"""Files that belong to a project and need not be named: `.provision/ssh_config`, `known_hosts`."""

from __future__ import annotations

from pathlib import Path


def nearest(inventory: Path, name: str) -> Path | None:
    """`.provision/NAME` beside the inventory, in a parent folder of it, or here."""
    folder = inventory.resolve().parent
    for place in (folder, *folder.parents, Path.cwd()):
        path = place / ".provision" / name
        if path.is_file():
            return path
    return None

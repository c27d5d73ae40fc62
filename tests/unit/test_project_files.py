"""Files that are used without being named: only those of people whom the user trusts anyway."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.model.errors import UsageError
from provision.transport.project_files import nearest

STRANGER, COLLEAGUE = 12345, 12346


def project(folder: Path) -> tuple[Path, Path]:
    """An inventory, and an ssh_config in the folder above it."""
    (folder / "own").mkdir()
    (folder / ".provision").mkdir()
    inventory, config = folder / "own/i.yml", folder / ".provision/ssh_config"
    inventory.touch()
    config.touch(0o644)
    return inventory, config


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    """The inventory's folder comes before those above."""
    inventory, config = project(tmp_path)
    assert nearest(inventory, "ssh_config") == config
    (tmp_path / "own/.provision").mkdir()
    (tmp_path / "own/.provision/ssh_config").touch()
    assert nearest(inventory, "ssh_config") == tmp_path / "own/.provision/ssh_config"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_a_stranger_is_refused(tmp_path: Path) -> None:
    """Such as one in /tmp, above the user's own folder: its ProxyCommand would run."""
    inventory, config = project(tmp_path)
    tmp_path.chmod(0o1777)
    os.chown(config, STRANGER, STRANGER)
    with pytest.raises(UsageError, match=f"belongs to another user .uid {STRANGER}"):
        nearest(inventory, "ssh_config")
    os.chown(inventory, COLLEAGUE, COLLEAGUE)
    with pytest.raises(UsageError, match="belongs to another user"):
        nearest(inventory, "ssh_config")
    os.chown(config, COLLEAGUE, COLLEAGUE)
    assert nearest(inventory, "ssh_config") == config


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_a_colleague_counts_in_the_folder_of_a_team(tmp_path: Path) -> None:
    """Only people of its group can put one there. A folder of a stranger is the stranger's."""
    inventory, config = project(tmp_path)
    tmp_path.chmod(0o2775)
    os.chown(config, COLLEAGUE, COLLEAGUE)
    assert nearest(inventory, "ssh_config") == config
    os.chown(tmp_path, STRANGER, STRANGER)
    with pytest.raises(UsageError, match="belongs to another user"):
        nearest(inventory, "ssh_config")


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    """A group may: with the umask 002, files are so."""
    inventory, config = project(tmp_path)
    config.chmod(0o664)
    assert nearest(inventory, "ssh_config") == config
    config.chmod(0o666)
    with pytest.raises(UsageError, match="can be written by everybody"):
        nearest(inventory, "ssh_config")


def test_on_a_file_system_without_permissions_nothing_is_refused(tmp_path: Path) -> None:
    """Such as a disk of Windows: chmod would change nothing there, nor is the inventory safer."""
    inventory, config = project(tmp_path)
    config.chmod(0o777)
    inventory.chmod(0o777)
    assert nearest(inventory, "ssh_config") == config

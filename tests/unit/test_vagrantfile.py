"""The Vagrantfile, as far as it can be tried without machines: Vagrant finds it valid."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="Debian's package vagrant is not here")
@pytest.mark.parametrize("inventory", ["inventories/vagrant.yml", "inventories/routes.yml"])
def test_it_is_valid_for_an_inventory(inventory: str, tmp_path: Path) -> None:
    """Names and addresses come from the inventory; one without hosts is refused."""

    def validate(path: Path) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"VAGRANT_HOME": str(tmp_path), "PROVISION_INVENTORY": str(path)}
        env |= {"VAGRANT_DOTFILE_PATH": str(tmp_path / "dot"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
        argv = ("vagrant", "validate", "--ignore-provider")
        return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)

    done = validate(ROOT / inventory)
    assert done.returncode == 0 and "validated successfully" in done.stdout, done.stderr
    empty = tmp_path / "empty.yml"
    empty.write_text("name: demo\n")
    assert validate(empty).returncode != 0

"""`vagrant validate` accepts the Vagrantfile; no machine is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    shutil.which("vagrant") is None, reason="Debian's package vagrant is not installed"
)
@pytest.mark.parametrize("inventory", ["inventories/vagrant.yml", "inventories/routes.yml"])
def test_the_vagrantfile_is_valid_for_an_inventory(inventory: str, tmp_path: Path) -> None:
    """Names and addresses come from the inventory; an inventory without hosts is refused."""

    def validate(path: Path) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"VAGRANT_HOME": str(tmp_path), "PROVISION_INVENTORY": str(path)}
        env |= {"VAGRANT_DOTFILE_PATH": str(tmp_path / "dot"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
        argv = ("vagrant", "validate", "--ignore-provider")
        return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)

    process = validate(ROOT / inventory)
    assert process.returncode == 0, process.stderr
    assert "validated successfully" in process.stdout
    empty = tmp_path / "empty.yml"
    empty.write_text("name: demo\n")
    assert validate(empty).returncode != 0

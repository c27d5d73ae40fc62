"""The wheel works without the checkout, because it contains the templates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision.lab import teardown
from provision.lab.layout import Lab
from tests.lab.free import free_ranges
from tests.lab.hosts import INVENTORIES

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]


def _run(*argv: str | Path, cwd: Path) -> str:
    process = subprocess.run(
        [str(argument) for argument in argv], cwd=cwd, capture_output=True, text=True, timeout=500
    )
    assert process.returncode == 0, f"{argv}: {process.stdout}\n{process.stderr}"
    return process.stdout


def test_the_wheel_boots_a_lab_and_plans_from_another_folder(tmp_path: Path) -> None:
    """The test installs it into a new virtual environment, and uses it in an empty folder."""
    if os.geteuid() != 0:
        pytest.fail("the tests on booted hosts need root: run scripts/test")
    wheels, environment, folder = tmp_path / "wheels", tmp_path / "venv", tmp_path / "work"
    folder.mkdir()
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", wheels, REPOSITORY, cwd=folder)
    _run(sys.executable, "-m", "venv", environment, cwd=folder)
    (wheel,) = wheels.glob("*.whl")
    _run(environment / "bin" / "pip", "install", "--quiet", wheel, cwd=folder)
    program = environment / "bin" / "provision"
    free = free_ranges(Lab(folder))
    data = str(free.data[0]).removesuffix("0")
    text = (INVENTORIES / "routes.yml").read_text().replace("10.78.0.", data)
    (folder / "routes.yml").write_text(text)
    module = _run(
        environment / "bin" / "python",
        "-c",
        "import provision; print(provision.__file__)",
        cwd=folder,
    )
    assert module.startswith(str(environment))
    try:
        _run(program, "lab", "up", "3", "--ranges", str(free), cwd=folder)
        assert "create docker_network blue" in _run(program, "plan", "routes.yml", cwd=folder)
        _run(program, "apply", "routes.yml", cwd=folder)
        assert "0 failed, 0 skipped" in _run(program, "verify", "routes.yml", cwd=folder)
    finally:
        teardown.down(Lab(folder), say=print)

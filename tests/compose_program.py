"""`docker compose config`, with which tests compare what is read from Compose files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/libexec/docker/cli-plugins/docker-compose")
"""Debian's place of version 2; Debian 12 has version 1, which reads another format."""


def program() -> Path:
    """Version 2 of Compose. The test is skipped without it, but in CI it must be there."""
    named = os.environ.get("COMPOSE_PROGRAM") or PLUGIN
    found = Path(named) if Path(named).exists() else None
    if found is None and (default := shutil.which("docker-compose")):
        version = subprocess.run((default, "version", "--short"), capture_output=True, text=True)
        found = Path(default) if version.stdout.lstrip("v").startswith("2") else None
    if found is None:
        assert not os.environ.get("COMPOSE_PROGRAM"), "COMPOSE_PROGRAM names no file"
        pytest.skip("no docker-compose of version 2 here: COMPOSE_PROGRAM may name it")
    return found


def config(compose: Path) -> Any:
    """What `docker compose config` prints about a file, all profiles included."""
    argv = (str(program()), "-p", "x", "--profile", "*", "-f", str(compose), "config")
    process = subprocess.run((*argv, "--format", "json"), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    # Its output is a Compose file again, in which a dollar sign is doubled.
    return json.loads(process.stdout.replace("$$", "$"))

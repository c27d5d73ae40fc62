"""Programs of this machine: check that they are installed, run them, report their errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from provision.model.errors import LabError

PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "apt-config": "apt",
}
"""Program → the Debian package that contains it."""


def require_root(verb: str) -> None:
    """Raise LabError unless this process is root."""
    if os.geteuid() != 0:
        raise LabError(
            f"lab {verb} needs root: it mounts file systems, creates interfaces, boots machines",
            f"sudo provision lab {verb}",
        )


def require_programs(package_by_program: Mapping[str, str] = PACKAGES) -> None:
    """Raise one LabError that names all missing programs."""
    missing = [name for name in package_by_program if shutil.which(name) is None]
    if missing:
        packages = sorted({package_by_program[name] for name in missing})
        raise LabError(
            f"missing on this machine: {', '.join(missing)}",
            f"apt-get install {' '.join(packages)}",
        )


def run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """Standard output of a command. Raises LabError with the end of its error output."""
    process = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if process.returncode:
        reason = (process.stderr.strip() or process.stdout.strip())[-800:]
        raise LabError(f"{' '.join(argv[:4])} … failed ({process.returncode}): {reason}")
    return process.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Run a command; True when it exits with 0."""
    return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0

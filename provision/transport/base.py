"""The seam to hosts: one script in, its output back. Pure: only the contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Output:
    """What a script printed and how it ended; `status` is its exit status (0-255)."""

    status: int
    stdout: str
    stderr: str


class Transport(Protocol):
    """Runs POSIX sh scripts as root on hosts; safe to call from one thread per host."""

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script` on `host` by one execution.

        Raises HostError (ConnectError, AuthError, HostKeyError, TimedOut) when the script
        could not be run to its end; a failing script is an Output, not an error.
        """
        ...

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file of the controller to `target` on the host. Raises HostError."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...

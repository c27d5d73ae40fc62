"""The interface between provision and hosts: run one script, get its output. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Output:
    """Output and exit status (0-255) of a script."""

    status: int
    stdout: str
    stderr: str


class Transport(Protocol):
    """Runs POSIX sh scripts as root on hosts; safe to call from one thread per host."""

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script` on `host` in one execution.

        Raises HostError (ConnectError, AuthError, HostKeyError, TimedOut, NoAnswerError) when
        the script did not run to its end. A script that fails is an Output with its exit status.
        """
        ...

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file of the controller to `target` on the host. Raises HostError."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...

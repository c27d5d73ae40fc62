"""Scripts on this machine: a host is a command prefix, such as `nsenter --net=FILE`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from provision.model.errors import ConnectError, TimedOut
from provision.transport.base import Output
from provision.transport.calls import require_current


class Local:
    """Transport by local processes; `prefixes` maps each host to the argv that enters it."""

    def __init__(self, prefixes: Mapping[str, tuple[str, ...]]) -> None:
        self._prefixes = prefixes

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script`. Raises TimedOut, and ConnectError when the prefix cannot be run."""
        require_current(host)
        argv = (*self._prefixes[host], "sh", "-c", 'eval "$(cat)"')
        try:
            process = subprocess.run(
                argv, input=script.encode(), capture_output=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise TimedOut(host, f"the script did not end within {timeout_s:g} s") from error
        except OSError as error:
            raise ConnectError(host, f"unreachable ({error.strerror})") from error
        text = (stream.decode("utf-8", "replace") for stream in (process.stdout, process.stderr))
        return Output(process.returncode, *text)

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file to the path `target` on the host."""
        save = ("sh", "-c", 'mkdir -p "${1%/*}" && cat >"$1"', "sh", target)
        with source.open("rb") as file:
            subprocess.run(
                (*self._prefixes[host], *save), stdin=file, timeout=timeout_s, check=True
            )

    def close(self) -> None:
        """Do nothing: no connection stays open."""

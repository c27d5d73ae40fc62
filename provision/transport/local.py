"""Scripts on this machine: a host is a command prefix, such as `nsenter --net=FILE`."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from provision.model.errors import ConnectError, TimedOut
from provision.transport import answers
from provision.transport.base import Output
from provision.transport.calls import require_current


class Local:
    """Transport by local processes; `prefixes` maps each host to the argv that enters it."""

    def __init__(self, prefixes: Mapping[str, tuple[str, ...]]) -> None:
        self._prefixes = prefixes

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        """Run `script`.

        Raises TimedOut, ConnectError when the prefix cannot be run, and NoAnswerError if the
        script was not run to its end.
        """
        require_current(host)
        nonce = secrets.token_hex(8)
        argv = (*self._prefixes[host], *answers.SHELL)
        data = answers.marked(script, nonce).encode()
        try:
            process = subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(host, f"the script did not end within {timeout_s:g} s") from error
        except OSError as error:
            raise ConnectError(host, f"unreachable ({error.strerror})") from error
        return answers.unmarked(host, _output(process), nonce)

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        """Copy a file to the path `target` on the host. Raises NoAnswerError."""
        nonce = secrets.token_hex(8)
        argv = (*self._prefixes[host], *answers.save(target, nonce))
        with source.open("rb") as file:
            process = subprocess.run(argv, stdin=file, capture_output=True, timeout=timeout_s)
        output = _output(process)
        if answers.unmarked(host, output, nonce).status:
            raise ConnectError(host, f"{source} could not be copied: {answers.reply(output)}")

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def _output(process: subprocess.CompletedProcess[bytes]) -> Output:
    text = (stream.decode("utf-8", "replace") for stream in (process.stdout, process.stderr))
    return Output(process.returncode, *text)

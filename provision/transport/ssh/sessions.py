"""Connections to hosts on which scripts run, of paramiko or of the ssh program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from provision.transport.base import Output


class HostConnection(Protocol):
    """A connection to one host. Its methods raise exceptions of paramiko, socket and HostErrors."""

    @property
    def is_connected(self) -> bool:
        """False before `open`, and once the connection is lost."""
        ...

    def open(self) -> None:
        """Connect and log in."""
        ...

    def execute(
        self, host: str, command: str, data: bytes | Iterator[bytes], timeout_s: float
    ) -> Output:
        """Run `command` with `data` as its standard input."""
        ...

    def close(self) -> None:
        """Close the connection, whether it is open or not."""
        ...

"""The program of a ProxyCommand as paramiko's connection."""

from __future__ import annotations

import os
from select import select
from typing import Any

import paramiko


class ProxyCommand(paramiko.ProxyCommand):
    """paramiko's own, which never sees the end of a program and signals a process that is gone."""

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes of its output; none at its end. Raises TimeoutError.

        paramiko's own reads until it has all of `size`, and spins at the end of the program.
        """
        output: Any = self.process.stdout
        ready, _, _ = select([output], [], [], self.timeout)
        if not ready:
            raise TimeoutError
        return os.read(output.fileno(), size)

    def close(self) -> None:
        """End the program, if it has not ended."""
        self.process.terminate()

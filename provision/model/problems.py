"""A reason why a host cannot be used, as a value. Pure.

A mistake in an inventory is a `Finding`, which has a position in a file; a problem has a host.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why `host` cannot be changed as planned, and what the user can do about it.

    `hides_docker`: it hides Docker's resources of the host, and nothing else.
    """

    host: str
    message: str
    hint: str = ""
    hides_docker: bool = False

    def __str__(self) -> str:
        return f"{self.host}: {self.message}"

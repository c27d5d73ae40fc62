"""A reason why a host cannot be used, as a value. Pure.

An inventory's mistakes are findings, which have a place in a file; these have a host.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason why `host` cannot be changed as planned, and what the user can do about it."""

    host: str
    message: str
    hint: str = ""

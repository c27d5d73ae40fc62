"""A mistake in an inventory's files: the entry that it is about, its position, message and hint.

Rules know an entry only by the keys that lead to it. The reader of the file knows the positions
of all entries and adds them before a finding is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Loc = tuple[str | int, ...]
# Ends a path that means the key itself rather than its value; pydantic uses the same mark.
KEY = "[key]"


class Position(NamedTuple):
    """A character of a file; `line` and `column` count from 1, and line 0 is the whole file."""

    path: Path = Path()
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)


NOWHERE = Position()  # until the reader of the file adds the position


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake at a path of keys and indexes, such as ("hosts", "h1", "address").

    `loc` is empty for a mistake in the syntax, which has a position and no entry. `hosts` are those
    between which something is wrong: if one of them is unknown, only that is a mistake.
    """

    loc: Loc
    message: str
    hint: str = ""
    position: Position = NOWHERE
    hosts: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.position}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class FindingError(Exception):
    """Reading stopped at this finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding

    @classmethod
    def at(cls, position: Position, message: str, hint: str = "") -> FindingError:
        """The error for a mistake in the syntax at `position`."""
        return cls(Finding((), message, hint, position))


class BadValueError(ValueError):
    """A single value breaks a rule; the caller knows which entry holds the value."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def in_file_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by position, each text once at a position."""
    unique = {(finding.position, finding.message, finding.hint): finding for finding in findings}
    return tuple(unique[key] for key in sorted(unique))

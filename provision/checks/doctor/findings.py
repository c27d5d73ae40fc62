"""Findings about hosts as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """The weight of a finding: an error cuts packets or stops a change, a warning may do so."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class HostFinding:
    """Something on `host` that hurts its network.

    `text`: what it is; `why`: why it matters; `fix`: a command, or what to do. `kind` is a word for
    programs.
    """

    host: str
    kind: str
    weight: Weight
    text: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.host}: {self.text}"

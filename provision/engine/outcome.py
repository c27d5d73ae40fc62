"""The outcome of a run on one host, as a value. Pure: `status` makes its text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OutcomeKind(StrEnum):
    """The state in which a run leaves a host."""

    UNCHANGED = "unchanged"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    PENDING = "pending"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run on one host. Times are the controller's, in seconds since the epoch.

    `reason`: why the change was rolled back. `until`: when a pending change is rolled back; None
    where the host does not know. `last_seen`: when a host whose outcome is unknown last answered;
    None for one that answers, but could not complete its rollback (`reason`: why it had to), or
    could not tell its state (no `reason`).
    """

    kind: OutcomeKind
    reason: str = ""
    until: float | None = None
    last_seen: float | None = None

    @property
    def is_final(self) -> bool:
        """True if the host will not leave this state by itself."""
        return self.kind is not OutcomeKind.PENDING


UNCHANGED = Outcome(OutcomeKind.UNCHANGED)
CONFIRMED = Outcome(OutcomeKind.CONFIRMED)
UNREACHABLE = Outcome(OutcomeKind.UNREACHABLE)
UNREADABLE = Outcome(OutcomeKind.UNKNOWN)
"""The host took the login, but did not tell its state: its shell or sudo refuses, for example."""


def reverted(reason: str) -> Outcome:
    """The outcome of a change that the host has rolled back because of `reason`."""
    return Outcome(OutcomeKind.REVERTED, reason)


def unknown(last_seen: float) -> Outcome:
    """The outcome of a host that last answered at `last_seen`, while its change was pending."""
    return Outcome(OutcomeKind.UNKNOWN, last_seen=last_seen)

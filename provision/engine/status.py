"""The outcome of a host by its own record of a change, and its text in the words of the interface.

Uses the controller's clock: a host's record counts in seconds of the host's clock, which may be
wrong, so only its differences are used.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from provision.engine.outcome import CONFIRMED, UNCHANGED, Outcome, OutcomeKind, reverted
from provision.model.errors import LockedError

if TYPE_CHECKING:
    from provision.engine.records import TransactionRecord


def current_user() -> str:
    """The user and the controller that hold a lock, for others who meet it."""
    # Imported here: only a run that changes something needs them.
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def pending(seconds: float) -> Outcome:
    """The outcome of a host that rolls its change back in `seconds`."""
    return Outcome(OutcomeKind.PENDING, until=time.time() + seconds)


def recorded_outcome(record: TransactionRecord) -> Outcome:
    """The outcome that a host's record of a change tells."""
    # `none` is the reason of a transaction that was disarmed before it changed anything.
    if record.state == "confirmed":
        return CONFIRMED
    if record.state == "reverted" and record.result == "reverted":
        return UNCHANGED if record.reason == "none" else reverted(record.reason)
    if record.state == "reverted":
        return Outcome(OutcomeKind.UNKNOWN, record.reason)
    if not record.deadline:
        return Outcome(OutcomeKind.PENDING)
    return pending(record.deadline - record.now)


def describe(outcome: Outcome) -> str:
    """An outcome in the words of the interface, such as `reverted (failed)`."""
    if outcome.kind is OutcomeKind.PENDING:
        return f"pending until {_time_of_day(outcome.until) or 'an unknown time'}"
    if outcome.kind is OutcomeKind.REVERTED:
        return f"reverted ({outcome.reason})"
    if outcome.kind is OutcomeKind.UNKNOWN:
        return f"unknown ({_unknown_reason(outcome)})"
    return outcome.kind.value


def _unknown_reason(outcome: Outcome) -> str:
    if outcome.last_seen is not None:
        return f"last seen {_time_of_day(outcome.last_seen)}"
    return f"undo incomplete after {outcome.reason}" if outcome.reason else "no valid answer"


def describe_all(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """The outcome of each host in the words of the interface."""
    return {host: describe(outcome) for host, outcome in outcomes.items()}


def locked(host: str, records: Iterable[TransactionRecord]) -> LockedError:
    """The error that tells who holds a host, since when, and until when."""
    for record in records:
        if record.pending:
            since = _time_of_day(time.time() - (record.now - record.since))
            return LockedError(
                host,
                f"{record.owner} is changing it since {since} "
                f"({record.verb} of {record.inventory}, change {record.id}), "
                f"{describe(recorded_outcome(record))}",
                "wait for its end; `provision status` and `provision recover` show and end it",
            )
    return LockedError(host, "another change holds it")


def _time_of_day(seconds: float | None) -> str:
    """A time since the epoch as the controller's local time of day; empty for no time."""
    return "" if seconds is None else time.strftime("%H:%M:%S", time.localtime(seconds))

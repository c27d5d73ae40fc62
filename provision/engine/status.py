"""What became of a host, in the words of the interface, by its own record of a change."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Iterable

from provision.engine.guard import TransactionRecord
from provision.model.errors import LockedError


def current_user() -> str:
    """Who holds a lock, for those who find it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def pending(seconds: float) -> str:
    """The state of a host that has so many seconds left."""
    return f"pending until {time.strftime('%H:%M:%S', time.localtime(time.time() + seconds))}"


def describe(record: TransactionRecord) -> str:
    """A host's record in the words of the interface."""
    if record.state == "confirmed":
        return "confirmed"
    if record.state == "reverted" and record.result == "reverted":
        return "unchanged" if record.reason == "none" else f"reverted ({record.reason})"
    if record.state == "reverted":
        return f"unknown (undo incomplete after {record.reason})"
    if not record.deadline:
        return "pending until an unknown time"
    return pending(record.deadline - record.now)


def is_final(state: str) -> bool:
    """Whether nothing more will happen to such a host by itself."""
    return not state.startswith("pending")


def locked(host: str, records: Iterable[TransactionRecord]) -> LockedError:
    """The error that says who holds a host, since when, and until when."""
    for record in records:
        if record.pending:
            since = time.time() - (record.now - record.since)
            at = time.strftime("%H:%M:%S", time.localtime(since))
            return LockedError(
                host,
                f"{record.owner} is changing it since {at} ({record.verb} of {record.inventory}, "
                f"change {record.id}), {describe(record)}",
                "wait for its end; `provision status` and `provision recover` show and end it",
            )
    return LockedError(host, "another change holds it")

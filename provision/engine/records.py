"""A host's records of its changes, as `templates/guard/status.sh` prints them. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from provision.model.errors import FactsError


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A host's record of a change.

    `state`: txn, reverting, reverted or confirmed. Times are in seconds of the host's clock, on
    which it is `now`; 0: unknown.
    """

    state: str
    id: str
    since: int
    deadline: int
    ended: int
    now: int
    reason: str
    result: str
    owner: str
    inventory: str
    verb: str
    log: str = ""

    @property
    def pending(self) -> bool:
        """True while the change locks the host."""
        return self.state in ("txn", "reverting")


def read_records(host: str, stdout: str) -> tuple[TransactionRecord, ...]:
    """The records that a host has printed.

    Raises FactsError if the record of a change that locks the host cannot be read, or if the login
    may not open the records.
    """
    if re.search(r"^unreadable$", stdout, re.M):
        raise FactsError(
            host,
            "the login cannot open its records of changes in /var/lib/provision",
            "log in as root, or write ssh: {sudo: true}",
        )
    readable = readable_records(stdout)
    folders = re.findall(r"^record (?:txn|reverting)\t", stdout, re.M)
    if len(folders) > sum(record.pending for record in readable):
        raise FactsError(
            host,
            "a change is under way, and its record cannot be read",
            "look into /var/lib/provision on the host",
        )
    return readable


def readable_records(stdout: str) -> tuple[TransactionRecord, ...]:
    """The records that a host has printed; lines that cannot be read are left out."""
    lines = re.findall(r"^record (\w+)\t(.*)$", stdout, re.M)
    return tuple(filter(None, (_record(state, rest.split("\t")) for state, rest in lines)))


def _record(state: str, fields: list[str]) -> TransactionRecord | None:
    try:
        txn, since, deadline, ended, reason, result, about, log, now = map(str.strip, fields)
    except ValueError:
        return None
    owner, inventory, verb = _about(about)
    if not re.fullmatch(r"[0-9a-f]+", txn) or state not in _STATES:
        return None
    return TransactionRecord(
        state,
        txn,
        _seconds(since),
        _seconds(deadline),
        _seconds(ended),
        _seconds(now),
        reason,
        result,
        owner,
        inventory,
        verb,
        log,
    )


def _about(text: str) -> tuple[str, str, str]:
    """Owner, inventory and verb of a change; empty where the file is damaged.

    Without them the change still locks the host, and `recover` can end it.
    """
    try:
        about = json.loads(text or "{}")
        return (
            str(about.get("owner", "")),
            str(about.get("inventory", "")),
            str(about.get("verb", "")),
        )
    except (ValueError, AttributeError, RecursionError):
        return "", "", ""


def _seconds(text: str) -> int:
    # Python raises ValueError for more than 4300 digits (CVE-2020-10735).
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0


_STATES = ("txn", "reverting", "reverted", "confirmed")

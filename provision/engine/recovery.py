"""Reads the transaction records of hosts, and ends a change from any controller.

The hosts' records are right; the controller's journal only tells when a silent host last answered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from provision.engine import guard, journal
from provision.engine.fleet import Interrupted, Session, each
from provision.engine.guard import Txn
from provision.engine.outcome import UNCHANGED, UNREACHABLE, UNREADABLE, Outcome, unknown
from provision.engine.records import TransactionRecord, read_records
from provision.engine.status import current_user, recorded_outcome
from provision.model.errors import (
    ConnectError,
    FactsError,
    HostError,
    NoAnswerError,
    StepError,
    SudoError,
    UsageError,
)

REASON = 500
"""Characters of the words of a guard that refuses, from their end."""
_SHOW = "`provision status` shows what it does"
ANSWERED = (NoAnswerError, SudoError, FactsError)
"""Errors of hosts that were reached."""


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The latest change of each host, and the errors of hosts that did not answer.

    A host that was never changed has no entry in `latest`. `last_seen`: times since the epoch of
    silent hosts, by the journal. `refusals`: the errors of hosts that were told how to end a
    change, and have not ended it so.
    """

    hosts: tuple[str, ...]
    latest: Mapping[str, TransactionRecord]
    errors: Mapping[str, HostError] = field(default_factory=dict)
    last_seen: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    refusals: Mapping[str, HostError] = field(default_factory=dict)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each host."""
        return {host: self._outcome(host) for host in self.hosts}

    def _outcome(self, host: str) -> Outcome:
        if isinstance(self.errors.get(host), ANSWERED):
            return UNREADABLE
        if host in self.errors:
            last_seen = self.last_seen.get(host)
            return UNREACHABLE if last_seen is None else unknown(last_seen)
        record = self.latest.get(host)
        return recorded_outcome(record) if record else UNCHANGED

    @property
    def held(self) -> dict[str, TransactionRecord]:
        """Hosts whose change is pending, or could not be rolled back completely."""
        return {
            host: record
            for host, record in self.latest.items()
            if record.pending or (record.state == "reverted" and record.result == "incomplete")
        }


def fleet_status(session: Session, hosts: Iterable[str]) -> FleetStatus:
    """Ask every host for its records."""
    names = tuple(hosts)
    script = guard.status()
    answers, errors = _records(session, names, script, session.snapshot_s)
    latest = {host: answer.record for host, answer in answers.items() if answer.record is not None}
    return FleetStatus(names, latest, errors, _last_seen(session, errors))


class _Answer(NamedTuple):
    """The latest record of a host; `reason` is why its guard has refused, if it has."""

    record: TransactionRecord | None
    reason: str


def _records(
    session: Session, hosts: Iterable[str], script: str, timeout_s: float
) -> tuple[dict[str, _Answer], dict[str, HostError]]:
    """The latest record that `script` prints on each of `hosts`, and the errors of the others."""

    def run(host: str) -> _Answer:
        output = session.transport.run(host, script, timeout_s=timeout_s)
        reason = output.stderr.strip()[-REASON:] if output.status else ""
        return _Answer(_latest(read_records(host, output.stdout)), reason)

    return each(session, hosts, run)


def _latest(records: Iterable[TransactionRecord]) -> TransactionRecord | None:
    # A pending change counts over later ones: it locks the host.
    return max(records, key=lambda record: (record.pending, record.since), default=None)


def _last_seen(session: Session, hosts: Iterable[str]) -> dict[str, float]:
    """The last time in the journals of each host that was in a change whose end is not noted."""
    last: dict[str, float] = {}
    for path in sorted(journal.folder(session.inventory.path).glob("*.jsonl")):
        for note in journal.notes(session.inventory.path, path.stem):
            for host in hosts:
                if host in note.get("hosts", ()):
                    last[host] = note["at"]
                if host in note.get("states", {}):
                    last.pop(host, None)
    return last


def confirm(session: Session, hosts: Iterable[str], *, txn: str | None, force: bool) -> FleetStatus:
    """Have all hosts of the pending change `txn` keep it, or of the only one that is pending.

    Raises ConnectError if a host does not answer, and UsageError if no single change is pending, a
    host has rolled it back, or its token is not here; then no host is told to keep it.
    """
    status = fleet_status(session, hosts)
    for error in status.errors.values():
        raise ConnectError(error.host, error.message, "no host was told to keep the change")
    pending = {host: record for host, record in status.held.items() if record.state == "txn"}
    txn_id = _only_change(pending.values(), txn)
    _require_not_reverted(status, txn_id)
    if not force and journal.token(session.inventory.path, txn_id) is None:
        raise UsageError(
            f"the token of change {txn_id} is not on this controller, which did not make it",
            f"`provision status` shows who made it; to confirm it anyway: --txn {txn_id} --force",
        )
    changed = [host for host, record in pending.items() if record.id == txn_id]
    status = _tell(session, status, changed, _confirmation(session, txn_id))
    undone = {
        host: StepError(host, "it has rolled the change back", _SHOW)
        for host in changed
        if status.latest[host].state == "reverted"
    }
    return replace(status, refusals={**status.refusals, **undone})


def _only_change(records: Iterable[TransactionRecord], txn: str | None) -> str:
    """The id of the pending change, which is `txn` unless that is None. Raises UsageError."""
    ids = sorted({record.id for record in records})
    matches = [txn_id for txn_id in ids if txn in (None, txn_id)]
    if len(matches) != 1:
        names = ", ".join(ids) or "none"
        raise UsageError(
            f"no single change is waiting for confirmation (pending: {names})",
            "name one with --txn ID",
        )
    return matches[0]


def _require_not_reverted(status: FleetStatus, txn_id: str) -> None:
    for host, record in status.latest.items():
        if record.id == txn_id and record.state in ("reverting", "reverted"):
            raise UsageError(
                f"{host} has rolled change {txn_id} back already",
                "`provision recover INVENTORY` rolls it back on the other hosts, too",
            )


def _confirmation(session: Session, txn_id: str) -> str:
    """The script that confirms a change: with its token, or by force without it."""
    token = journal.token(session.inventory.path, txn_id)
    if token is None:
        return guard.force(txn_id, current_user())
    return guard.confirm(Txn(txn_id, token, current_user(), session.inventory.name, ""))


def recover(
    session: Session, hosts: Iterable[str], *, only: Collection[str] | None = None
) -> FleetStatus:
    """End every change that is held on `hosts`, or those of `only`.

    Hosts keep a change that another of its hosts has kept, and roll it back otherwise.
    """
    status = fleet_status(session, hosts)
    confirmed = {record.id for record in status.latest.values() if record.state == "confirmed"}
    for txn_id in sorted({record.id for record in status.held.values()}):
        if (only is None or txn_id in only) and not status.interrupted:
            status = _recover(session, status, txn_id, keep=txn_id in confirmed)
    return status


def _recover(session: Session, status: FleetStatus, txn_id: str, *, keep: bool) -> FleetStatus:
    changed = [host for host, record in status.held.items() if record.id == txn_id]
    if keep:
        # Another controller has no token, so it forces the hosts: otherwise some would keep the
        # change and others would not.
        status = _tell(session, status, changed, _confirmation(session, txn_id))
        if status.interrupted:
            return status
        changed = [host for host in changed if host in status.held]  # a confirmation came too late
    script = guard.revert(txn_id, "operator", nonce=secrets.token_hex(4))
    return _tell(session, status, changed, script)


def _tell(session: Session, status: FleetStatus, hosts: Iterable[str], script: str) -> FleetStatus:
    """Run a script that ends a change on `hosts`, and update the status by the records it prints.

    A host that has no record any more has kept the change and cleaned up. After Ctrl-C, the state
    of a host that has not answered is unknown.
    """
    names, asked_at = tuple(hosts), time.time()
    answers: Mapping[str, _Answer]
    errors: Mapping[str, HostError]
    try:
        answers, errors = _records(session, names, script, session.timeout_s)
        interrupted = False
    except Interrupted as stop:
        answers, interrupted = stop.results, True
        errors = {host: _unanswered(host) for host in names if host not in answers}
    latest, refusals = dict(status.latest), dict(status.refusals)
    for host, (record, reason) in answers.items():
        latest[host] = record or _cleaned_up(latest[host])
        refusals.pop(host, None)
        if latest[host].pending:
            message = f"its change is still pending: {reason or 'it has not ended it yet'}"
            refusals[host] = StepError(host, message, _SHOW)
    last_seen = dict(status.last_seen)
    if interrupted:
        last_seen |= dict.fromkeys(errors, asked_at)
    errors = {**status.errors, **errors}
    return FleetStatus(status.hosts, latest, errors, last_seen, interrupted, refusals)


def _unanswered(host: str) -> ConnectError:
    return ConnectError(host, "interrupted before it answered", _SHOW)


def _cleaned_up(record: TransactionRecord) -> TransactionRecord:
    return TransactionRecord(
        "confirmed", record.id, 0, 0, 0, 0, "", "", record.owner, record.inventory, record.verb
    )

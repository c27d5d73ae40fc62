"""What hosts say of their changes, and the end of one from any machine: kept, or undone.

The hosts' records count; the controller's journal says only what a silent host last was.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from provision.engine import guard, journal
from provision.engine.fleet import LOOK_S, Session, each
from provision.engine.guard import TransactionRecord, Txn
from provision.engine.outcome import UNCHANGED, UNREACHABLE, Outcome, unknown
from provision.engine.status import current_user, recorded_outcome
from provision.model.errors import ConnectError, HostError, UsageError


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The latest change of each host that answered (none: never changed), and who did not."""

    hosts: tuple[str, ...]
    latest: Mapping[str, TransactionRecord]
    errors: Mapping[str, HostError] = field(default_factory=dict)
    last_seen: Mapping[str, float] = field(default_factory=dict)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each host."""
        return {host: self._outcome(host) for host in self.hosts}

    def _outcome(self, host: str) -> Outcome:
        if host in self.errors:
            last_seen = self.last_seen.get(host)
            return UNREACHABLE if last_seen is None else unknown(last_seen)
        record = self.latest.get(host)
        return recorded_outcome(record) if record else UNCHANGED

    @property
    def held(self) -> dict[str, TransactionRecord]:
        """Hosts on which a change waits for its end, or whose undo came to none."""
        return {
            host: record
            for host, record in self.latest.items()
            if record.pending or (record.state == "reverted" and record.result == "incomplete")
        }


def fleet_status(session: Session, hosts: Iterable[str]) -> FleetStatus:
    """Ask every host."""
    names = tuple(hosts)
    text = guard.status()
    answers, errors = each(
        session, names, lambda host: session.transport.run(host, text, timeout_s=LOOK_S)
    )
    found = {host: _latest(guard.records(output.stdout)) for host, output in answers.items()}
    latest = {host: record for host, record in found.items() if record is not None}
    return FleetStatus(names, latest, errors, _last_seen(session, errors))


def _latest(records: Iterable[TransactionRecord]) -> TransactionRecord | None:
    return max(records, key=lambda record: (record.pending, record.since), default=None)


def _last_seen(session: Session, hosts: Iterable[str]) -> dict[str, float]:
    """The last time in the journal of each host that was in a change whose end is not noted."""
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
    """Keep a change that waits for it, on all its hosts at once; none when one does not answer.

    Raises UsageError when there is none, or more than one, or its word is not known here.
    """
    found = fleet_status(session, hosts)
    for error in found.errors.values():
        raise ConnectError(error.host, error.message, "no host was told to keep the change")
    held = {host: record for host, record in found.held.items() if record.state == "txn"}
    ids = {record.id for record in held.values() if txn in (None, record.id)}
    if len(ids) != 1:
        names = ", ".join(sorted({record.id for record in held.values()})) or "none"
        raise UsageError(f"the changes that wait for a word: {names}", "name one with --txn ID")
    (one,) = ids
    for host, record in found.latest.items():
        if record.id == one and record.state in ("reverting", "reverted"):
            raise UsageError(
                f"{host} has undone the change {one} already",
                "`provision recover INVENTORY` undoes it on the other hosts, too",
            )
    said = journal.word(session.inventory.path, one)
    if said is None and not force:
        raise UsageError(
            f"the change {one} was not made from here, so its word is not known",
            f"provision status says whose it is; then: --txn {one} --force",
        )
    text = guard.force(one, current_user())
    if said is not None:
        text = guard.confirm(Txn(one, said, current_user(), session.inventory.name, ""))
    return _told(session, found, [h for h in held if held[h].id == one], text, gone="confirmed")


def recover(
    session: Session, hosts: Iterable[str], *, only: Collection[str] | None = None
) -> FleetStatus:
    """End every change that is under way (or `only` these): kept where another of its hosts keeps
    it, else undone."""
    found = fleet_status(session, hosts)
    kept = {record.id for record in found.latest.values() if record.state == "confirmed"}
    for one in sorted({record.id for record in found.held.values()}):
        if only is not None and one not in only:
            continue
        mine = [host for host, record in found.held.items() if record.id == one]
        said = journal.word(session.inventory.path, one)
        if one in kept:
            # From another machine its word is not known: two states would be the worse end.
            text = guard.force(one, current_user())
            if said is not None:
                text = guard.confirm(Txn(one, said, current_user(), session.inventory.name, ""))
            found = _told(session, found, mine, text, gone="confirmed")
            mine = [host for host in mine if host in found.held]  # too late there
        text = guard.revert(one, "operator", nonce=secrets.token_hex(4))
        found = _told(session, found, mine, text, gone="confirmed")
    return found


def _told(
    session: Session, found: FleetStatus, hosts: Iterable[str], text: str, *, gone: str
) -> FleetStatus:
    """Tell hosts, and what they say then; one that says nothing has kept it and cleaned up."""
    answers, errors = each(
        session, hosts, lambda host: session.transport.run(host, text, timeout_s=session.timeout_s)
    )
    latest = dict(found.latest)
    for host, output in answers.items():
        record = _latest(guard.records(output.stdout))
        was = latest[host]
        empty = TransactionRecord(
            gone, was.id, 0, 0, 0, 0, "", "", was.owner, was.inventory, was.verb
        )
        latest[host] = record or empty
    return FleetStatus(found.hosts, latest, {**found.errors, **errors}, found.last_seen)

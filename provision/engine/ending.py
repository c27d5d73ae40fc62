"""Ends a transaction: hosts keep the change, or roll it back, or are left to a person.

An outcome is only what the host itself has told; a host that does not answer is asked until it
should have rolled back by itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence

from provision.engine import guard
from provision.engine.journal import LEFT
from provision.engine.outcome import CONFIRMED, UNCHANGED, Outcome, unknown
from provision.engine.records import TransactionRecord, read_records
from provision.engine.status import describe_all, pending, recorded_outcome
from provision.engine.transaction import Transaction
from provision.model.errors import HostError

GRACE_S = 30.0
"""Seconds after its deadline for which a host that does not answer is still asked."""
ROLLBACK_S = 180.0
"""Further seconds for a host that answers, and is still rolling the change back.

After a reboot it waits for Docker first, then for its followers.
"""
RETRY_S = 2.0


def confirm(transaction: Transaction, hosts: Iterable[str]) -> None:
    """Have `hosts` keep the change, all at once."""
    names = sorted(hosts)
    transaction.journal.note("confirm", hosts=names)
    transaction.told_to_confirm.update(names)
    _end(transaction, names, guard.confirm(transaction.txn))


def revert(transaction: Transaction, hosts: Iterable[str], reason: str) -> None:
    """Have `hosts` roll the change back now; one that does not answer does so at its deadline."""
    names = sorted(hosts)
    transaction.journal.note("revert", hosts=names, reason=reason)
    # A connection that the change has cut would be waited for; a new one fails or works at once.
    transaction.session.transport.close()
    script = guard.revert(transaction.txn.id, reason, nonce=secrets.token_hex(4))
    _end(transaction, names, script)


def leave(transaction: Transaction, hosts: Sequence[str]) -> None:
    """Leave the change pending on `hosts`, to be confirmed by a person or rolled back by them."""
    transaction.journal.note(LEFT, hosts=list(hosts))
    for host in hosts:
        transaction.outcomes[host] = pending(transaction.remaining_s(host))


def _end(transaction: Transaction, hosts: Sequence[str], script: str) -> None:
    # Pending until the host has told its end: Ctrl-C may come before that.
    leave_pending = {host: pending(transaction.remaining_s(host)) for host in hosts}
    transaction.outcomes |= leave_pending
    timeout_s = transaction.session.timeout_s
    answers, errors = _records(transaction, hosts, script, timeout_s)
    for host, records in answers.items():
        transaction.outcomes[host] = _outcome(transaction, host, records)
    busy = {host for host in answers if not transaction.outcomes[host].is_final}
    _await_end(transaction, set(errors), busy)
    # Every host of this note has ended: `recovery` relies on that.
    ended = {host: transaction.outcomes[host] for host in hosts}
    transaction.journal.note("ended", states=describe_all(ended))


def _await_end(transaction: Transaction, silent: set[str], busy: set[str]) -> None:
    """Ask hosts until each has told its end, or should have rolled back by far.

    `silent` hosts have not answered; `busy` ones have, and are still rolling back.
    """
    last_seen = dict.fromkeys(silent | busy, time.time())
    for host in sorted(silent | busy):
        _announce(transaction, host, busy=host in busy)
    while silent | busy:
        lost = {host for host in silent if transaction.remaining_s(host) + GRACE_S < 0}
        transaction.outcomes |= {host: unknown(last_seen[host]) for host in lost}
        limit_s = GRACE_S + ROLLBACK_S
        # These have answered: they stay pending, as they say.
        slow = {host for host in busy if transaction.remaining_s(host) + limit_s < 0}
        hosts = (silent | busy) - lost - slow
        if not hosts:
            return
        time.sleep(RETRY_S)
        answered = _ask(transaction, hosts)
        last_seen |= dict.fromkeys(answered, time.time())
        busy = {host for host in answered if not transaction.outcomes[host].is_final}
        silent = hosts - answered


def _announce(transaction: Transaction, host: str, *, busy: bool) -> None:
    limit_s = GRACE_S + (ROLLBACK_S if busy else 0)
    seconds = max(0, transaction.remaining_s(host) + limit_s)
    state = "it is still rolling the change back" if busy else "no answer"
    until = "" if busy else ", until it should have rolled the change back by itself"
    transaction.session.warn(f"{host}: {state}. Asking it for {seconds:.0f} s more{until}")


def _ask(transaction: Transaction, hosts: set[str]) -> set[str]:
    """Ask hosts over new connections, and note the outcomes of those that answer; their names."""
    transaction.session.transport.close()
    answers, _ = _records(transaction, hosts, guard.status(), transaction.session.snapshot_s)
    transaction.outcomes |= {
        host: _outcome(transaction, host, records) for host, records in answers.items()
    }
    return set(answers)


def _records(
    transaction: Transaction, hosts: Iterable[str], script: str, timeout_s: float
) -> tuple[dict[str, tuple[TransactionRecord, ...]], dict[str, HostError]]:
    """The records that `script` prints on each of `hosts`, and the errors of the others."""

    def run(host: str) -> tuple[TransactionRecord, ...]:
        return read_records(host, transaction.run(host, script, timeout_s).stdout)

    return transaction.each(hosts, run)


def _outcome(transaction: Transaction, host: str, records: Iterable[TransactionRecord]) -> Outcome:
    """The outcome of a host by its records."""
    for record in records:
        if record.id == transaction.txn.id:
            return recorded_outcome(record)
    # A host that keeps a destroy cleans up, and then has no record. This holds for the rollback
    # after Ctrl-C, too: it may come when hosts have confirmed, and their answers were not read.
    return CONFIRMED if host in transaction.told_to_confirm else UNCHANGED

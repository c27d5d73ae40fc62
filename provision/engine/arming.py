"""Arms the guards of hosts, arms them anew over new connections, and disarms them.

An armed host rolls the change back at its deadline, whatever becomes of the controller.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from provision.engine import guard
from provision.engine.fleet import read_snapshot, snapshot_script
from provision.engine.guard import TransactionStep
from provision.engine.plan import Wave
from provision.engine.records import readable_records
from provision.engine.status import locked
from provision.engine.transaction import Transaction, tail
from provision.facts.gather import HostSnapshot
from provision.model.errors import ConnectError, StepError


def arm(
    transaction: Transaction, waves: Sequence[Wave], *, permanent: bool = False
) -> Mapping[str, HostSnapshot]:
    """Arm the hosts of `waves` that are not armed yet, and gather their snapshots.

    All hosts are armed before the first change on any. Hosts that cannot be armed are in the errors
    of the transaction. `permanent`: the first part is never rolled back, such as packages.
    """
    first = {
        host: operations
        for host, operations in _first_operations(waves).items()
        if host not in transaction.armed
    }
    if not first:
        return {}
    seconds = transaction.window_s + sum(transaction.budget_s(wave) for wave in waves)
    hosts = sorted(first)
    transaction.journal.note("arm", hosts=hosts, word=transaction.txn.token, verb=transaction.verb)
    snapshots: dict[str, HostSnapshot] = {}
    # The first host alone: of two runs at the same time, one is turned away there, before it has
    # armed a host that the other needs.
    for group in (hosts[:1], hosts[1:]):
        armed, errors = transaction.each(
            group,
            lambda host: _arm(
                transaction, host, transaction.step(first[host], permanent=permanent), seconds
            ),
            label="Arming hosts",
        )
        snapshots |= armed
        transaction.errors += errors.values()
        if errors:
            break
    return snapshots


def _first_operations(waves: Sequence[Wave]) -> Wave:
    """The operations of each host in the first wave that it is part of."""
    first: Wave = {}
    for wave in waves:
        first = wave | first
    return first


def _arm(transaction: Transaction, host: str, step: TransactionStep, seconds: int) -> HostSnapshot:
    nonce = secrets.token_hex(8)
    # The host may be armed from here on, even if its answer is lost.
    transaction.armed.append(host)
    transaction.set_deadline(host, seconds)
    origin = transaction.origin(host)
    script = guard.arm(transaction.txn, step, seconds=seconds, nonce=nonce, origin=origin)
    snapshot = snapshot_script(transaction.session, host, nonce)
    output = transaction.run(host, f"{script}\n{snapshot}", transaction.session.snapshot_s)
    if output.status:
        transaction.armed.remove(host)
        if output.status == guard.BUSY:
            raise locked(host, readable_records(output.stdout))
        raise ConnectError(host, f"its guard refuses a change: {tail(output.stderr)}")
    return read_snapshot(transaction.session, host, output, nonce)


def rearm(transaction: Transaction, hosts: Iterable[str]) -> Mapping[str, HostSnapshot]:
    """Gather snapshots over new connections, and start the window of the confirmation.

    Hosts to which no new connection carries full-size packets are in the errors.
    """
    # An established connection may go on where no new one gets through: stateful firewalls accept
    # its packets, and neighbours have the old path in their caches.
    transaction.session.transport.close()
    snapshots, errors = transaction.each(
        hosts, lambda host: _rearm(transaction, host), label="Checking hosts"
    )
    for host, error in errors.items():
        message = f"no new connection after the change: {error.message}"
        transaction.errors.append(StepError(host, message))
    return snapshots


def _rearm(transaction: Transaction, host: str) -> HostSnapshot:
    nonce = secrets.token_hex(8)
    script = guard.rearm(transaction.txn, seconds=transaction.window_s, nonce=nonce)
    snapshot = snapshot_script(transaction.session, host, nonce)
    output = transaction.run(host, f"{script}\n{snapshot}", transaction.session.snapshot_s)
    if output.status in (guard.GONE, guard.REFUSED):
        raise ConnectError(host, f"the host does not keep the change: {tail(output.stderr)}")
    if not guard.is_complete(output.stdout, nonce=nonce):
        raise ConnectError(
            host,
            f"the connection lost part of a {guard.PADDING // 1024} KiB test transfer: full-size "
            "packets do not get through (MTU?)",
        )
    transaction.set_deadline(host, transaction.window_s)
    return read_snapshot(transaction.session, host, output, nonce)


def disarm(transaction: Transaction) -> None:
    """Disarm every host, on none of which anything was changed."""
    transaction.journal.note("disarm", hosts=transaction.armed)
    transaction.session.transport.close()
    script = guard.revert(transaction.txn.id, "none", nonce=secrets.token_hex(4))
    # A host that does not answer disarms itself at its deadline: it has nothing to roll back.
    limit_s = transaction.session.snapshot_s
    transaction.each(transaction.armed, lambda host: transaction.run(host, script, limit_s))

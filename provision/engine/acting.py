"""Makes the operations of a wave on its hosts, and notes the result of each."""

from __future__ import annotations

import secrets

from provision.engine import guard
from provision.engine.artifacts import sign
from provision.engine.plan import Operation, Wave
from provision.engine.report import ChangeResult, ChangeStatus
from provision.engine.transaction import Transaction, tail
from provision.model.errors import ConnectError, StepError
from provision.model.text import count
from provision.resources import script
from provision.resources.on_hosts import lock_path
from provision.resources.steps import Upload
from provision.transport.base import Output

OUTPUT_LIMIT = 800
"""Characters of a failed step's output that an error message holds, from its end."""


def act(transaction: Transaction, wave: Wave) -> None:
    """Make one wave on all its hosts; failures are in the errors of the transaction."""
    transaction.journal.note("act", hosts=sorted(wave))
    seconds = transaction.window_s + transaction.budget_s(wave)
    results, errors = transaction.each(
        wave,
        lambda host: _act(transaction, host, wave[host], seconds),
        label="Changing hosts",
    )
    for host, outcomes in results.items():
        _note(transaction, host, wave[host], outcomes)
    for host, error in errors.items():
        message = f"lost during the change: {error.message}"
        transaction.errors.append(StepError(host, message))
        _note_all(transaction, wave[host], ChangeStatus.UNKNOWN)


def skip(transaction: Transaction, wave: Wave) -> None:
    """Note that a wave is not made."""
    for operations in wave.values():
        _note_all(transaction, operations, ChangeStatus.NOT_RUN)


def _note_all(
    transaction: Transaction, operations: tuple[Operation, ...], status: ChangeStatus
) -> None:
    transaction.results += [
        ChangeResult(operation.change, status, removes=operation.removes)
        for operation in operations
    ]


def _act(
    transaction: Transaction, host: str, operations: tuple[Operation, ...], seconds: int
) -> tuple[script.OperationResult | None, ...]:
    """Make the operations of one host; the outcome of each, None for one that did not end."""
    # Certificates are issued only now: a refused change leaves no authority on this controller.
    steps = tuple(sign(operation.steps) for operation in operations)
    uploads = tuple(script.uploads(tuple(step for group in steps for step in group)))
    transaction.sent_parts[host] += 1
    number, nonce = transaction.sent_parts[host], secrets.token_hex(8)
    # The rollback of the first part is on the host since it was armed.
    extension = _extension(transaction, host, operations, seconds) if number > 1 else ""
    if uploads and extension:
        # What arrives must have its rollback there first.
        _require_acted(host, transaction.run(host, extension, transaction.session.timeout_s))
        extension = ""
    _upload(transaction, host, uploads)
    # The lock keeps the follower from creating again what these operations remove.
    lock = lock_path(transaction.session.inventory.name)
    program = script.render(steps, nonce=nonce, lock=lock, journal=guard.journal(number))
    text = f"{extension}\n{guard.act(transaction.txn, number, program, nonce=nonce)}"
    output = transaction.run(host, text, transaction.session.timeout_s)
    _require_acted(host, output)
    outcomes = script.read(output.stdout, nonce=nonce, count=len(steps))
    _report(transaction, host, operations, outcomes)
    return outcomes


def _report(
    transaction: Transaction,
    host: str,
    operations: tuple[Operation, ...],
    outcomes: tuple[script.OperationResult | None, ...],
) -> None:
    """Print what has become of the steps of a host, and which of them took longest."""
    ended = [
        (outcome.seconds, operation)
        for outcome, operation in zip(outcomes, operations, strict=True)
        if outcome
    ]
    done = sum(outcome is not None and not outcome.status for outcome in outcomes)
    slowest = max(ended, key=lambda each: each[0], default=None)
    detail = ""
    if slowest is not None and slowest[0] >= 1:
        ref = slowest[1].change.ref
        detail = f"; {ref.kind} {ref.name} took {slowest[0]:.0f} s"
    transaction.session.say(f"{host}: {done} of {count(len(operations), 'step')} done{detail}")


def _extension(
    transaction: Transaction, host: str, operations: tuple[Operation, ...], seconds: int
) -> str:
    """The script that brings the rollback of a later part, with a new deadline."""
    transaction.set_deadline(host, seconds)
    number, step = transaction.sent_parts[host], transaction.step(operations)
    nonce = secrets.token_hex(8)
    return guard.extend(transaction.txn, number, step, seconds=seconds, nonce=nonce)


def _upload(transaction: Transaction, host: str, uploads: tuple[Upload, ...]) -> None:
    session = transaction.session
    for upload in uploads:
        session.transport.send(host, upload.source, upload.target, timeout_s=session.timeout_s)


def _require_acted(host: str, output: Output) -> None:
    """Raises ConnectError if the host did not start the operations."""
    end = tail(output.stdout + output.stderr)
    if output.status == script.LOCKED:
        message = f"another program on the host holds the lock of this inventory: {end}"
        raise ConnectError(host, message, "end that program, then apply again")
    if output.status == guard.GONE:
        raise ConnectError(host, f"the host has rolled the change back: {end}")
    if output.status == guard.REFUSED:
        raise ConnectError(host, f"the host has changed since it was armed: {end}")


def _note(
    transaction: Transaction,
    host: str,
    operations: tuple[Operation, ...],
    outcomes: tuple[script.OperationResult | None, ...],
) -> None:
    failed = False
    for operation, outcome in zip(operations, outcomes, strict=True):
        if outcome is None:
            _note_all(transaction, (operation,), ChangeStatus.NOT_RUN)
            continue
        status = ChangeStatus.FAILED if outcome.status else ChangeStatus.DONE
        transaction.results.append(
            ChangeResult(operation.change, status, outcome.seconds, outcome.note, operation.removes)
        )
        if outcome.status:
            failed = True
            transaction.errors.append(_step_error(host, operation, outcome))
    if None in outcomes and not failed:
        transaction.errors.append(StepError(host, "its script died before the last operation"))


def _step_error(host: str, operation: Operation, outcome: script.OperationResult) -> StepError:
    ref = operation.change.ref
    detail = outcome.output[-OUTPUT_LIMIT:] or f"exit status {outcome.status}"
    return StepError(host, f"{ref.kind} {ref.name} failed: {detail}")

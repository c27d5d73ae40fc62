"""Changes hosts: looks, acts under their guards, looks anew, and has them keep it or undo it.

Decides nothing: what differs is `plan`'s word, what a host needs `preflight`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.engine.fleet import LOOK_S, Fleet, Session, difference, observe
from provision.engine.outcome import Outcome, OutcomeKind
from provision.engine.plan import (
    Change,
    Conflict,
    Plan,
    Wave,
    facts_changing_part,
    is_permanent,
    operations,
    waves,
)
from provision.engine.report import ChangeResult, Report
from provision.model.errors import (
    ChangedError,
    ConflictError,
    HostError,
    LockedError,
    StepError,
    UnfitError,
)

if TYPE_CHECKING:
    # Imported when there is something to change: most runs only look.
    from provision.engine.transaction import Transaction

ROUNDS = 3
TWICE_S = 10.0
"""What a neighbour remembers of the old way of SSH is forgotten by then."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a change is made. `canary` goes first and alone; `manual`: a person confirms it."""

    destroy: bool = False
    all_or_none: bool = True
    canary: str | None = None
    window_s: int = 90
    manual: bool = False

    @property
    def verb(self) -> str:
        """The verb that people know."""
        return "destroy" if self.destroy else "apply"


def planned(session: Session, hosts: tuple[str, ...], *, destroy: bool = False) -> Report:
    """Look, and say what would change. Nothing is changed."""
    fleet, errors = _fit(session, hosts, destroy=destroy)
    todo = difference(session, fleet, _without(hosts, errors), destroy=destroy)
    return Report(
        hosts, tuple(ChangeResult(change) for change in todo.changes), todo.conflicts, errors
    )


def change(
    session: Session,
    hosts: tuple[str, ...],
    how: ApplyOptions,
    *,
    agreed: Callable[[tuple[Change, ...]], None] = lambda _changes: None,
) -> Report:
    """Look, act and look again until nothing differs; then the hosts keep it, or undo it.

    Raises ConflictError and LockedError before any change, and what `agreed` raises when it sees
    the changes.
    """
    fleet, errors = _fit(session, hosts, destroy=how.destroy)
    if _taken_over(session, fleet, hosts):
        fleet, errors = _fit(session, hosts, destroy=how.destroy)
    fit = _without(hosts, errors)
    todo = difference(session, fleet, fit, destroy=how.destroy)
    _refuse(todo.conflicts)
    if errors and how.all_or_none:
        return Report(hosts, (), (), errors)
    agreed(todo.changes)
    if not how.destroy:
        session, todo = _supplied(session, fleet, fit, todo)
    _free(session, fleet, {change.ref.host for change in todo.changes})
    run = _Apply(session, how, fleet)
    for some in _turns(fit, how):
        if not run.converge(some):
            break
    return Report(hosts, tuple(run.done), (), (*errors, *run.errors), run.outcomes, run.interrupted)


def _turns(fit: tuple[str, ...], how: ApplyOptions) -> Iterator[tuple[str, ...]]:
    """Hosts that are changed together, one group after the other."""
    if how.canary is None:
        yield fit
        return
    yield (how.canary,)
    yield tuple(host for host in fit if host != how.canary)


def _taken_over(session: Session, fleet: Fleet, hosts: Iterable[str]) -> bool:
    """Whether there was a change of a run of ours that has died: it is undone, or kept, first."""
    held = [
        host for host in hosts if host in fleet.looks and fleet.looks[host].facts.in_transaction
    ]
    if not held:
        return False
    from provision.engine import recovery
    from provision.engine.journal import abandoned

    found = recovery.fleet_status(session, held)
    ids = {one.id for one in found.held.values() if abandoned(session.inventory.path, one.id)}
    if ids:
        session.warn("a run that was interrupted has left changes: undoing them first")
        recovery.recover(session, session.inventory.hosts, only=ids)
    return bool(ids)


def _free(session: Session, fleet: Fleet, hosts: Iterable[str]) -> None:
    """Raises LockedError where a change is under way: whose, since when and until when."""
    for host in sorted(hosts):
        if fleet.looks[host].facts.in_transaction:
            from provision.engine import guard
            from provision.engine.status import locked

            said = session.transport.run(host, guard.status(), timeout_s=LOOK_S)
            raise locked(host, guard.records(said.stdout))


def _fit(
    session: Session, hosts: tuple[str, ...], *, destroy: bool
) -> tuple[Fleet, tuple[HostError, ...]]:
    """A look, and what keeps any of `hosts` from being changed.

    What is wanted of a host depends on its peers too (the smallest MTU), so those are looked at
    even when they are not among `hosts`; what fails there is not this run's concern.
    """
    fleet = observe(session, hosts if destroy else session.inventory.hosts)
    from provision.engine import preflight

    problems = () if destroy else preflight.problems(session.inventory, fleet.facts)
    unfit = (UnfitError(problem.host, problem.message, problem.hint) for problem in problems)
    errors = (*fleet.errors.values(), *unfit)
    return fleet, tuple(error for error in errors if error.host in hosts)


def _supplied(
    session: Session, fleet: Fleet, fit: tuple[str, ...], todo: Plan
) -> tuple[Session, Plan]:
    """The same with all that hosts get from here at hand. Raises SupplyError."""
    from provision.engine import artifacts

    artifacts.check(todo)
    whole = artifacts.with_built_files(session, todo)
    return (
        whole,
        todo if whole is session else difference(whole, fleet, fit, destroy=False),
    )


def _without(hosts: tuple[str, ...], errors: Iterable[HostError]) -> tuple[str, ...]:
    bad = {error.host for error in errors}
    return tuple(host for host in hosts if host not in bad)


def _refuse(conflicts: tuple[Conflict, ...]) -> None:
    if conflicts:
        lines = "\n".join(f"{conflict.ref.host}: {conflict.message}" for conflict in conflicts)
        raise ConflictError(
            lines, "provision adopts nothing: remove it yourself, or choose another name or range"
        )


def _steps(plan: Plan, change: Transaction) -> tuple[Wave, ...]:
    return waves(operations(plan, txn=change.txn.id))


class _Apply:
    """Changes under one guard after another: what brings tools first, then all else."""

    def __init__(self, session: Session, how: ApplyOptions, fleet: Fleet) -> None:
        self.session, self.how = session, how
        self.looks = dict(fleet.looks)
        self.done: list[ChangeResult] = []
        self.errors: list[HostError] = []
        self.outcomes: dict[str, Outcome] = {}
        self.interrupted = False

    def converge(self, hosts: tuple[str, ...]) -> bool:
        """Change `hosts` until nothing differs; whether all of them keep it."""
        todo = self._todo(hosts)
        return not todo.changes or self._transact(hosts, todo)

    def _todo(self, hosts: Iterable[str]) -> Plan:
        return difference(self.session, Fleet(self.looks), hosts, destroy=self.how.destroy)

    def _refused(self, todo: Plan, fit: tuple[str, ...]) -> Iterator[HostError]:
        """What only a look after the packages could tell: it is a failure now, not a refusal."""
        from provision.engine import preflight

        seen = Fleet(self.looks).facts
        for problem in preflight.problems(self.session.inventory, seen):
            if problem.host in fit:
                yield StepError(problem.host, problem.message, problem.hint)
        for conflict in todo.conflicts:
            yield StepError(conflict.ref.host, conflict.message)

    def _transact(self, hosts: tuple[str, ...], todo: Plan) -> bool:
        from provision.engine.transaction import Transaction

        change = Transaction(self.session, self.how.verb, self.how.window_s)
        try:
            self._change(change, hosts, todo)
        except KeyboardInterrupt:
            self._interrupt(change)
        finally:
            change.journal.close()
            self.done += change.done
            self.errors += change.errors
            self.outcomes |= change.outcomes
        aim = OutcomeKind.PENDING if self.how.manual else OutcomeKind.CONFIRMED
        kept = all(outcome.kind is aim for outcome in change.outcomes.values())
        return kept and not change.errors

    def _change(self, change: Transaction, hosts: tuple[str, ...], todo: Plan) -> None:
        first = facts_changing_part(todo)
        steps = _steps(first or todo, change)
        if not self._armed(change, hosts, todo, first or todo):
            change.disarm()
            locks = [error for error in change.errors if isinstance(error, LockedError)]
            if locks:
                raise locks[0]
            return
        left = todo
        for _ in range(ROUNDS + 2 * bool(first)):
            self._act(change, steps)
            self.looks |= change.look(change.armed)
            left = self._todo(hosts)
            if first:
                # Only now can be seen what else is wanted of a host that had no Docker.
                change.errors += self._refused(left, hosts)
            if change.errors or not left.changes:
                break
            first = facts_changing_part(left) if first else None
            steps = _steps(first or left, change)
            # Some hosts change only because of what has become known of others meanwhile.
            self.looks |= change.arm(steps, kept=is_permanent(first or left))
            if change.errors:
                break
        for one in () if change.errors else left.changes:
            change.errors.append(
                StepError(one.ref.host, f"{one.ref.kind} {one.ref.name} still differs")
            )
        self._again(change, todo)
        self._end(change)

    def _armed(self, change: Transaction, hosts: tuple[str, ...], todo: Plan, first: Plan) -> bool:
        """Whether every host is held, and is still as it was when this was planned."""
        self.looks |= change.arm(_steps(first, change), kept=is_permanent(first))
        if change.errors:
            return False
        for one in set(self._todo(hosts).changes) ^ set(todo.changes):
            change.errors.append(
                ChangedError(one.ref.host, f"{one.ref.kind} {one.ref.name} has changed meanwhile")
            )
        return not change.errors

    def _act(self, change: Transaction, steps: tuple[Wave, ...]) -> None:
        for wave in steps:
            if change.errors and self.how.all_or_none:
                change.skip(wave)
                continue
            count = sum(len(some) for some in wave.values())
            self.session.say(f"changing {len(wave)} host(s), {count} step(s)")
            change.act(wave)

    def _again(self, change: Transaction, todo: Plan) -> None:
        """What a neighbour still remembers of the old way is forgotten at the second look."""
        hosts = sorted({one.ref.host for one in todo.changes if one.ssh})
        if hosts and not change.errors:
            self.session.say(f"{', '.join(hosts)}: looking again in {TWICE_S:g} s")
            time.sleep(TWICE_S)
            change.look(hosts)

    def _end(self, change: Transaction) -> None:
        bad = {error.host for error in change.errors}
        if bad and self.how.all_or_none:
            bad = set(change.armed)
        if bad:
            change.revert(bad & set(change.armed), "failed")
        good = [host for host in change.armed if host not in bad]
        if self.how.manual:
            change.leave(good)
        elif good:
            change.confirm(good)

    def _interrupt(self, change: Transaction) -> None:
        self.interrupted = True
        self.session.warn("interrupted: undoing it; once more leaves that to the hosts' deadlines")
        try:
            change.revert(change.armed, "operator")
        except KeyboardInterrupt:
            self.session.warn("left to the hosts: each undoes it at its deadline")
            change.leave(change.armed)

"""Changes hosts: looks, acts by one script a wave, and looks again until nothing differs.

Decides nothing: what differs is `plan`'s word, what a host needs `preflight`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from provision import script
from provision.errors import ConflictError, ConnectError, HostError, StepError
from provision.fleet import Fleet, Session, difference, each, observe
from provision.plan import Change, Conflict, Operation, Plan, Wave, enabling, operations, waves
from provision.report import Done, Report
from provision.resource import Issue, Steps, lock

ROUNDS = 3


def planned(session: Session, hosts: tuple[str, ...], *, destroy: bool = False) -> Report:
    """Look, and say what would change. Nothing is changed."""
    fleet, errors = _fit(session, hosts, destroy=destroy)
    todo = difference(session, fleet, _without(hosts, errors), destroy=destroy)
    return Report(hosts, tuple(Done(change) for change in todo.changes), todo.conflicts, errors)


def change(
    session: Session,
    hosts: tuple[str, ...],
    *,
    destroy: bool,
    all_or_none: bool,
    agreed: Callable[[tuple[Change, ...]], None] = lambda _changes: None,
) -> Report:
    """Look, act and look again until nothing differs.

    Raises ConflictError before any change, and what `agreed` raises when it sees the changes.
    """
    fleet, errors = _fit(session, hosts, destroy=destroy)
    fit = _without(hosts, errors)
    todo = difference(session, fleet, fit, destroy=destroy)
    _refuse(todo.conflicts)
    if errors and all_or_none:
        return Report(hosts, (), (), errors)
    agreed(todo.changes)
    if not destroy:
        session, todo = _supplied(session, fleet, fit, todo)
    return _Run(session, destroy=destroy, fleet=fleet).converge(hosts, fit, todo, errors)


def _fit(
    session: Session, hosts: tuple[str, ...], *, destroy: bool
) -> tuple[Fleet, tuple[HostError, ...]]:
    """A look, and what keeps any of `hosts` from being changed.

    What is wanted of a host depends on its peers too (the smallest MTU), so those are looked at
    even when they are not among `hosts`; what fails there is not this run's concern.
    """
    fleet = observe(session, hosts if destroy else session.inventory.hosts)
    from provision import preflight

    unfit = () if destroy else preflight.unfit(session.inventory, fleet.facts)
    errors = (*fleet.errors.values(), *unfit)
    return fleet, tuple(error for error in errors if error.host in hosts)


def _supplied(
    session: Session, fleet: Fleet, fit: tuple[str, ...], todo: Plan
) -> tuple[Session, Plan]:
    """The same with all that hosts get from here at hand. Raises SupplyError."""
    from provision import supplies

    supplies.held(todo)
    whole = supplies.complete(session, todo)
    return (
        whole,
        todo if whole is session else difference(whole, fleet, fit, destroy=False),
    )


def _without(hosts: tuple[str, ...], errors: Iterable[HostError]) -> tuple[str, ...]:
    bad = {error.host for error in errors}
    return tuple(host for host in hosts if host not in bad)


def _refuse(conflicts: tuple[Conflict, ...]) -> None:
    if conflicts:
        lines = "\n".join(f"{conflict.ref.host}: {conflict.found}" for conflict in conflicts)
        raise ConflictError(
            lines, "provision adopts nothing: remove it yourself, or choose another name or range"
        )


def _signed(steps: Steps) -> Steps:
    if not any(isinstance(step, Issue) for step in steps):
        return steps
    from provision import pki  # its library costs as much as all the rest

    return pki.signed(steps)


class _Run:
    """The rounds of one change: act, look again, act on what still differs."""

    def __init__(self, session: Session, *, destroy: bool, fleet: Fleet) -> None:
        self.session, self.destroy = session, destroy
        self.looks = dict(fleet.looks)
        self.done: list[Done] = []
        self.errors: list[HostError] = []

    def converge(
        self,
        hosts: tuple[str, ...],
        fit: tuple[str, ...],
        todo: Plan,
        errors: tuple[HostError, ...],
    ) -> Report:
        """Rounds until the plan is empty, at most ROUNDS; a failure ends them."""
        for _ in range(ROUNDS):
            if not todo.changes or self.errors:
                break
            first = enabling(todo)
            self._act(waves(operations(first or todo)))
            todo = self._again({done.change.ref.host for done in self.done}, fit)
            if first:
                self._refuse(todo, fit)
        for change in () if self.errors else todo.changes:
            self.errors.append(
                StepError(change.ref.host, f"{change.ref.kind} {change.ref.name} still differs")
            )
        return Report(hosts, tuple(self.done), (), (*errors, *self.errors))

    def _refuse(self, todo: Plan, fit: tuple[str, ...]) -> None:
        """What only a look after the packages could tell: it is a failure now, not a refusal."""
        from provision import preflight

        seen = Fleet(self.looks).facts
        for unfit in preflight.unfit(self.session.inventory, seen):
            if unfit.host in fit:
                self.errors.append(StepError(unfit.host, unfit.message, unfit.hint))
        for conflict in todo.conflicts:
            self.errors.append(StepError(conflict.ref.host, conflict.found))

    def _act(self, waves: tuple[Wave, ...]) -> None:
        for wave in waves:
            if self.errors:
                self._skip(wave)
                continue
            count = sum(len(operations) for operations in wave.values())
            self.session.say(f"changing {len(wave)} host(s), {count} step(s)")
            results, lost = each(self.session, wave, lambda host: self._script(host, wave[host]))  # noqa: B023
            for host, outcomes in results.items():
                self._note(host, wave[host], outcomes)
            for host, error in lost.items():
                self.errors.append(StepError(host, f"lost while it was changed: {error.message}"))
                self.done += [Done(one.change, "unknown", 0.0) for one in wave[host]]

    def _script(self, host: str, todo: tuple[Operation, ...]) -> tuple[script.Outcome | None, ...]:
        steps = tuple(_signed(operation.steps) for operation in todo)
        for upload in script.uploads(tuple(step for some in steps for step in some)):
            self.session.transport.send(
                host, upload.source, upload.target, timeout_s=self.session.timeout_s
            )
        nonce = secrets.token_hex(8)

        text = script.render(
            steps, nonce=nonce, lock=lock(self.session.inventory.name), last=self.destroy
        )
        output = self.session.transport.run(host, text, timeout_s=self.session.timeout_s)
        if output.status == script.LOCKED:
            raise ConnectError(host, "another change of this inventory holds its lock")
        return script.read(output.stdout, nonce=nonce, count=len(steps))

    def _note(
        self,
        host: str,
        todo: tuple[Operation, ...],
        outcomes: tuple[script.Outcome | None, ...],
    ) -> None:
        failed = False
        for operation, outcome in zip(todo, outcomes, strict=True):
            if outcome is None:
                self.done.append(Done(operation.change, "not run", 0.0))
                continue
            status = "failed" if outcome.status else "done"
            self.done.append(Done(operation.change, status, outcome.seconds))
            if outcome.status:
                failed = True
                ref = operation.change.ref
                tail = outcome.output[-800:] or f"exit status {outcome.status}"
                self.errors.append(StepError(host, f"{ref.kind} {ref.name} failed: {tail}"))
        if None in outcomes and not failed:
            self.errors.append(StepError(host, "its script ended before its end"))

    def _skip(self, wave: Wave) -> None:
        for todo in wave.values():
            self.done += [Done(operation.change, "not run", 0.0) for operation in todo]

    def _again(self, changed: set[str], fit: tuple[str, ...]) -> Plan:
        fleet = observe(self.session, sorted(changed))
        self.looks.update(fleet.looks)
        for host, error in fleet.errors.items():
            self.errors.append(StepError(host, f"lost after it was changed: {error.message}"))
        return difference(self.session, Fleet(self.looks), fit, destroy=self.destroy)

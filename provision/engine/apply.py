"""Plans and makes the changes of hosts: gathers, checks, acts under guards, and confirms.

`plan` decides which resources change, and `preflight` what a host needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.engine import applied_from, images, joint_changes, refusals
from provision.engine.fleet import Fleet, Session, difference, observe
from provision.engine.options import ApplyOptions
from provision.engine.outcome import Outcome
from provision.engine.plan import Change, Plan
from provision.engine.report import ChangeResult, Report
from provision.model.errors import HostError, UnfitError
from provision.model.problems import Problem
from provision.model.text import count

if TYPE_CHECKING:
    from provision.engine.rounds import ApplyRounds

# Modules of a transaction are imported where there is something to change: most runs only look.


PLANS = 3
"""How often a plan is made for hosts whose followers put something back before they are armed."""

Examiner = Callable[[Fleet, frozenset[str]], Iterable[str]]
"""Returns lines about what a change of these hosts would run into."""


def preview(
    session: Session, hosts: tuple[str, ...], *, destroy: bool = False, take_over: bool = False
) -> Report:
    """Gather the hosts' snapshots, and report the changes that are due. Nothing is changed."""
    session, fleet, errors = _gather(session, hosts, destroy=destroy)
    usable = _without(hosts, errors)
    plan = difference(session, fleet, usable, destroy=destroy)
    conflicts = () if take_over else refusals.of_other_files(session, fleet, plan)
    refused = {conflict.ref.host for conflict in conflicts}
    accepted = (change for change in plan.changes if change.ref.host not in refused)
    results = tuple(ChangeResult(change) for change in plan.changes)
    warnings = _warnings(session, fleet, usable, accepted, destroy=destroy)
    warnings += (applied_from.HINT,) if conflicts else ()
    joint = joint_changes.conflicts(session.inventory, plan.changes, (hosts,))
    conflicts = (*plan.conflicts, *joint, *conflicts)
    return Report(hosts, results, conflicts, errors, warnings=warnings)


def _warnings(
    session: Session,
    fleet: Fleet,
    hosts: tuple[str, ...],
    changes: Iterable[Change],
    *,
    destroy: bool,
) -> tuple[str, ...]:
    """Lines about what the changes do not show."""
    from provision.engine import departures, kept_subnets, moved_nics, mtu_changes, public_ranges

    inventory, changed = session.inventory, tuple(changes)
    lasting = (
        *applied_from.warnings(inventory, fleet.facts, changed),
        *moved_nics.warnings(inventory, fleet.facts, changed),
    )
    if destroy:
        return lasting
    read = fleet.state(fleet.snapshots)
    departed = departures.warnings(inventory, fleet.state(hosts), fleet.facts, read)
    return (
        *lasting,
        *departed,
        *mtu_changes.warnings(inventory, fleet.facts, changed),
        *(public_ranges.warnings(inventory) if changed else ()),
        *kept_subnets.explicit_lines(inventory),
        *images.warnings(session, changed),
    )


def converge(
    session: Session,
    hosts: tuple[str, ...],
    options: ApplyOptions,
    *,
    approve: Callable[[tuple[Change, ...]], None] | None = None,
    examine: Examiner = lambda _fleet, _hosts: (),
) -> Report:
    """Change hosts until nothing differs; then each keeps the change, or rolls it back.

    Raises ConflictError and LockedError before any change, and the errors of `approve`, which is
    called with the changes; without it, a plan is made again where a follower puts something back
    before the host is armed. `examine` is called with the snapshots and the hosts that will change.
    """
    by_file = session
    session, fleet, errors = _gather(by_file, hosts, destroy=options.destroy)
    if _recover_abandoned(session, fleet, hosts):
        session, fleet, errors = _gather(by_file, hosts, destroy=options.destroy)
    usable = _without(hosts, errors)
    plan = difference(session, fleet, usable, destroy=options.destroy)
    refusals.require_no_conflict(plan.conflicts)
    if not options.take_over:
        refusals.require_same_file(refusals.of_other_files(session, fleet, plan))
    if not options.restart_docker:
        refusals.require_docker_rules(plan.changes)
    warnings = _warnings(session, fleet, usable, plan.changes, destroy=options.destroy)
    for warning in warnings:
        session.warn(f"warning: {warning}")
    if errors and (options.all_or_none or _too_many_failed(session, hosts, errors, options)):
        return Report(hosts, (), (), errors)
    groups = tuple(options.groups(usable))
    # Where a failure rolls back its host alone, a host may load a key that its peers do not know.
    together = groups if options.all_or_none else tuple((host,) for host in usable)
    joint = tuple(joint_changes.conflicts(session.inventory, plan.changes, together))
    refusals.require_no_conflict(joint)
    if approve is not None:
        approve(plan.changes)
    for line in examine(fleet, frozenset(change.ref.host for change in plan.changes)):
        session.warn(f"error: {line}")
    session = replace(session, probes=())  # those of `examine`
    if not options.destroy:
        session, plan = _with_artifacts(session, fleet, usable, plan)
    refusals.require_unlocked(session, fleet, {change.ref.host for change in plan.changes})
    run = _Run(session, options, fleet, plans=1 if approve else PLANS)
    try:
        for position, group in enumerate(groups):
            if _too_many_failed(session, hosts, (*errors, *run.errors), options):
                break
            if position and _any_for_all(plan.changes):
                run.read(group)
            if not run.converge(group) and (options.all_or_none or run.interrupted):
                break
    except KeyboardInterrupt:
        # Between two groups: the first has ended already, and is reported.
        run.interrupted = True
    return replace(run.report(hosts, errors), warnings=warnings)


def _too_many_failed(
    session: Session, hosts: tuple[str, ...], errors: Iterable[HostError], options: ApplyOptions
) -> bool:
    """Return True if more hosts have failed than a rolling change allows, and say so."""
    if options.group_size is None:
        return False
    failed = {error.host for error in errors}
    if len(failed) <= options.max_failures:
        return False
    session.warn(
        f"Stopping: {count(len(failed), 'host')} of {len(hosts)} failed"
        f" (--max-failures {options.max_failures})"
    )
    return True


def _any_for_all(changes: Iterable[Change]) -> bool:
    """Return True if a change of one group may change what the hosts of another have."""
    sides = (side for change in changes for side in (change.before, change.after))
    return any(side is not None and side.for_all_hosts for side in sides)


def _recover_abandoned(session: Session, fleet: Fleet, hosts: Iterable[str]) -> bool:
    """End the changes of this controller's runs that have died; return True if there were any."""
    facts = fleet.facts
    held = [host for host in hosts if host in facts and facts[host].in_transaction]
    if not held:
        return False
    from provision.engine import recovery
    from provision.engine.journal import abandoned

    status = recovery.fleet_status(session, held)
    ids = {
        record.id for record in status.held.values() if abandoned(session.inventory.path, record.id)
    }
    if ids:
        session.warn("An interrupted run has left changes on hosts. Rolling them back first")
        if recovery.recover(session, session.inventory.hosts, only=ids).interrupted:
            raise KeyboardInterrupt
    return bool(ids)


def _gather(
    session: Session, hosts: tuple[str, ...], *, destroy: bool
) -> tuple[Session, Fleet, tuple[HostError, ...]]:
    """Snapshots, and the errors of those of `hosts` that cannot be changed.

    The wanted state of a host may depend on its peers (on the smallest MTU, for example). Then all
    hosts of the inventory are gathered; errors of hosts outside `hosts` are left out. The session
    has the subnets that hosts are found to have.
    """
    from provision.engine.limited import survey_part, survey_removal

    if destroy:
        fleet, problems = survey_removal(session, hosts)
        return session, fleet, (*fleet.errors.values(), *map(_unfit, problems))
    session, fleet, unknown = survey_part(session, hosts)
    from provision.engine import preflight

    for warning in preflight.warnings(session.inventory, fleet.facts):
        session.warn(f"{warning}; {warning.hint}")
    problems = (*preflight.problems(session.inventory, fleet.facts), *unknown)
    errors = (*fleet.errors.values(), *map(_unfit, problems))
    return session, fleet, tuple(error for error in errors if error.host in hosts)


def _unfit(problem: Problem) -> UnfitError:
    return UnfitError(problem.host, problem.message, problem.hint)


def _with_artifacts(
    session: Session, fleet: Fleet, hosts: tuple[str, ...], plan: Plan
) -> tuple[Session, Plan]:
    """The session and the plan with the files that hosts get from here. Raises SupplyError."""
    from provision.engine import artifacts

    artifacts.check(plan)
    complete = artifacts.with_built_files(session, plan)
    if complete is session:
        return session, plan
    return complete, difference(complete, fleet, hosts, destroy=False)


def _without(hosts: tuple[str, ...], errors: Iterable[HostError]) -> tuple[str, ...]:
    failed = {error.host for error in errors}
    return tuple(host for host in hosts if host not in failed)


class _Run:
    """One run over groups of hosts, each changed in a transaction of its own."""

    def __init__(
        self, session: Session, options: ApplyOptions, fleet: Fleet, *, plans: int
    ) -> None:
        self.session, self.options, self.plans = session, options, plans
        self.snapshots = dict(fleet.snapshots)
        self.results: list[ChangeResult] = []
        self.errors: list[HostError] = []
        self.outcomes: dict[str, Outcome] = {}
        self.interrupted = False

    def read(self, hosts: tuple[str, ...]) -> None:
        """Read `hosts` again, as far as they answer."""
        self.snapshots |= observe(self.session, hosts).snapshots

    def converge(self, hosts: tuple[str, ...]) -> bool:
        """Change `hosts` until nothing differs; return True if all of them keep the change."""
        for left in reversed(range(self.plans)):
            fleet = Fleet(self.snapshots)
            plan = difference(self.session, fleet, hosts, destroy=self.options.destroy)
            if not plan.changes:
                break
            from provision.engine.rounds import ApplyRounds

            rounds = ApplyRounds(self.session, self.options, hosts, self.snapshots)
            again = False
            try:
                kept = rounds.run(plan)
                again = rounds.superseded and not rounds.interrupted and left > 0
            finally:
                self._note(rounds, final=not again)
            if not again:
                return kept
            self.session.say("Planning again: a host has put back what was missing")
        return True

    def _note(self, rounds: ApplyRounds, *, final: bool) -> None:
        self.interrupted = rounds.interrupted
        if final:
            self.results += rounds.transaction.results
            self.errors += rounds.transaction.errors
            self.outcomes |= rounds.transaction.outcomes

    def report(self, hosts: tuple[str, ...], errors: tuple[HostError, ...]) -> Report:
        """The report of the run on `hosts`; `errors` are those from before it."""
        return Report(
            hosts,
            tuple(self.results),
            (),
            (*errors, *self.errors),
            self.outcomes,
            self.interrupted,
        )

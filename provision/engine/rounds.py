"""One transaction on a group of hosts: arm them, change them in rounds, then confirm or revert.

A round makes the planned changes, gathers new snapshots, and plans again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from provision.engine import acting, arming, ending, preflight
from provision.engine.fleet import Fleet, Session, difference
from provision.engine.options import ApplyOptions
from provision.engine.outcome import OutcomeKind
from provision.engine.plan import Change, Plan, Wave, facts_changing_part, is_permanent, operations
from provision.engine.plan import waves as in_waves
from provision.engine.transaction import Transaction
from provision.facts.gather import HostSnapshot
from provision.model.errors import (
    ChangedError,
    HostError,
    LockedError,
    ProvisionError,
    StepError,
)
from provision.model.text import count
from provision.resources.rows import row_summary

ROUNDS = 3
"""Rounds after which the transaction fails if resources still differ."""
FACTS_ROUNDS = 2
"""Additional rounds if the plan has resources that change the facts of hosts.

One round is for the permanent ones of these, such as packages, and one for the rest of these.
"""
SSH_RECHECK_S = 10.0
"""Seconds before hosts whose SSH path changed are checked again.

A neighbour may use its cached entries of the old path (ARP, FDB) for some seconds, so a first new
connection does not prove that the new path works.
"""


class ApplyRounds:
    """One transaction on `hosts`; the caller's `snapshots` are updated in place."""

    def __init__(
        self,
        session: Session,
        options: ApplyOptions,
        hosts: tuple[str, ...],
        snapshots: dict[str, HostSnapshot],
    ) -> None:
        self.session, self.options, self.hosts = session, options, hosts
        self.snapshots = snapshots
        self.transaction = Transaction(session, options.verb, options.window_s)
        self.interrupted = False
        self.superseded = False
        """Nothing was changed, as a follower has put something back since the plan was made."""

    def run(self, plan: Plan) -> bool:
        """Apply `plan`, and return True if it is confirmed on all hosts.

        With the option `manual` it is pending instead. Raises LockedError and UsageError before any
        change.
        """
        try:
            self._apply(plan)
        except KeyboardInterrupt:
            self._interrupt()
        except LockedError:
            raise  # every host is disarmed
        except (OSError, ProvisionError) as error:
            if not self.transaction.armed:
                raise
            self._stop(error)
        except BaseException:
            self._end_rest()
            raise
        finally:
            self._close_journal()
        success = OutcomeKind.PENDING if self.options.manual else OutcomeKind.CONFIRMED
        outcomes = self.transaction.outcomes.values()
        return all(outcome.kind is success for outcome in outcomes) and not self.transaction.errors

    def plan(self) -> Plan:
        """The changes that are still due, computed from the latest snapshots."""
        fleet = Fleet(self.snapshots)
        return difference(self.session, fleet, self.hosts, destroy=self.options.destroy)

    def _apply(self, plan: Plan) -> None:
        # Resources that change the facts (Docker, for example) come first and alone: before them
        # the host cannot tell what the rest of the plan depends on.
        first_part = facts_changing_part(plan) or plan
        waves = self._waves(first_part)
        self._arm(first_part, waves)
        if not self.transaction.errors:
            self._require_unchanged(plan)
        if self.transaction.errors:
            self._disarm()
            return
        last_plan = self._run_rounds(plan, waves)
        if not self.transaction.errors:
            self.transaction.errors += _still_differing(last_plan)
        self._recheck_ssh(plan)
        self._confirm_or_revert()

    def _waves(self, plan: Plan) -> tuple[Wave, ...]:
        return in_waves(operations(plan, txn=self.transaction.txn.id))

    def _arm(self, plan: Plan, waves: tuple[Wave, ...]) -> None:
        self.snapshots |= arming.arm(self.transaction, waves, permanent=is_permanent(plan))

    def _require_unchanged(self, plan: Plan) -> None:
        """Note an error for each resource that somebody else has changed since `plan`."""
        # The snapshots come from the arming: from then on, no other run can change the host.
        current = self.plan()
        differing = set(current.changes) ^ set(plan.changes)
        overtaken = bool(differing) and all(map(_is_volatile, differing))
        self.superseded = overtaken and not current.conflicts
        for change in differing:
            message = f"{_label(change)} has changed since the plan was made"
            self.transaction.errors.append(ChangedError(change.ref.host, message))

    def _disarm(self) -> None:
        arming.disarm(self.transaction)
        for error in self.transaction.errors:
            if isinstance(error, LockedError):
                raise error

    def _run_rounds(self, plan: Plan, waves: tuple[Wave, ...]) -> Plan:
        """Run rounds until nothing differs, an error occurs or `ROUNDS` are over.

        `waves` are those of the first round. Returns the last plan: the changes that are still due.
        """
        facts_part = facts_changing_part(plan)
        for _ in range(ROUNDS + (FACTS_ROUNDS if facts_part else 0)):
            self._act(waves)
            self.snapshots |= arming.rearm(self.transaction, self.transaction.armed)
            plan = self.plan()
            if facts_part:
                # The facts are new, so problems may show that no host could tell before.
                self.transaction.errors += self._late_errors(plan)
            if self.transaction.errors or not plan.changes:
                break
            facts_part = facts_changing_part(plan) if facts_part else None
            next_part = facts_part or plan
            waves = self._waves(next_part)
            # New facts of one host (its MTU, for example) may require changes on other hosts that
            # are not armed yet.
            self._arm(next_part, waves)
            if self.transaction.errors:
                break
        return plan

    def _late_errors(self, plan: Plan) -> Iterator[HostError]:
        """Yield an error for each problem and conflict that shows only after a change of facts."""
        # StepError, not UnfitError or ConflictError: those promise that no host was changed.
        facts = Fleet(self.snapshots).facts
        for problem in preflight.problems(self.session.inventory, facts):
            if problem.host in self.hosts:
                yield StepError(problem.host, problem.message, problem.hint)
        for conflict in plan.conflicts:
            yield StepError(conflict.ref.host, conflict.message)

    def _act(self, waves: tuple[Wave, ...]) -> None:
        for wave in waves:
            if self.transaction.errors and self.options.all_or_none:
                acting.skip(self.transaction, wave)
                continue
            steps = sum(len(host_operations) for host_operations in wave.values())
            self.session.say(f"Changing {count(len(wave), 'host')} in {count(steps, 'step')}")
            acting.act(self.transaction, wave)

    def _recheck_ssh(self, plan: Plan) -> None:
        """Check hosts whose SSH path changed once more, after the caches of neighbours expired."""
        hosts = sorted({change.ref.host for change in plan.changes if change.ssh})
        if hosts and not self.transaction.errors:
            self.session.say(
                f"Waiting {SSH_RECHECK_S:g} s before checking {', '.join(hosts)} again"
            )
            time.sleep(SSH_RECHECK_S)
            arming.rearm(self.transaction, hosts)

    def _confirm_or_revert(self) -> None:
        transaction = self.transaction
        to_revert = {error.host for error in transaction.errors}
        if to_revert and self.options.all_or_none:
            to_revert = set(transaction.armed)
        if to_revert:
            ending.revert(transaction, to_revert & set(transaction.armed), "failed")
        to_keep = [host for host in transaction.armed if host not in to_revert]
        if self.options.manual:
            # A person confirms it, by `provision confirm`.
            ending.leave(transaction, to_keep)
        elif to_keep:
            ending.confirm(transaction, to_keep)

    def _stop(self, error: OSError | ProvisionError) -> None:
        """End the change, with which this machine cannot go on: its disk is full, say."""
        self._end_rest()
        transaction = self.transaction
        kinds = {transaction.outcomes[host].kind for host in transaction.armed}
        if kinds == {OutcomeKind.CONFIRMED}:
            return
        hint = error.hint if isinstance(error, ProvisionError) else ""
        message = f"the controller cannot go on with the change: {error}"
        transaction.errors.append(StepError(transaction.armed[0], message, hint))

    def _end_rest(self) -> None:
        """Roll back all hosts but those that were told to keep the change: these are told again.

        Some of them may keep it already, and a rollback would part the others from them.
        """
        transaction = self.transaction
        rest = {host for host in transaction.armed if not self._has_ended(host)}
        to_keep = rest & transaction.told_to_confirm
        try:
            if rest - to_keep:
                ending.revert(transaction, rest - to_keep, "failed")
            if to_keep:
                ending.confirm(transaction, to_keep)
        except KeyboardInterrupt:
            self._leave([host for host in transaction.armed if host in rest])

    def _has_ended(self, host: str) -> bool:
        outcome = self.transaction.outcomes.get(host)
        return outcome is not None and outcome.is_final

    def _interrupt(self) -> None:
        self.interrupted = True
        try:
            self.session.warn(
                "Interrupted. Rolling the change back; press Ctrl-C again to leave that to the "
                "hosts"
            )
            ending.revert(self.transaction, self.transaction.armed, "operator")
        except KeyboardInterrupt:
            self._leave(self.transaction.armed)

    def _leave(self, hosts: Sequence[str]) -> None:
        self.interrupted = True  # a rolling change must not go on with its next group
        self.session.warn("Left to the hosts: each rolls the change back at its deadline")
        ending.leave(self.transaction, hosts)

    def _close_journal(self) -> None:
        journal = self.transaction.journal
        journal.close()
        if journal.error is not None:
            reason = journal.error.strerror
            self.session.warn(f"warning: the journal of this change is incomplete: {reason}")


def _still_differing(plan: Plan) -> Iterator[HostError]:
    for change in plan.changes:
        yield StepError(change.ref.host, f"{_label(change)} still differs")


def _is_volatile(change: Change) -> bool:
    resource = change.after or change.before
    return resource is not None and resource.volatile


def _label(change: Change) -> str:
    rows = row_summary(change.before, change.after)
    return f"{change.ref.kind} {change.ref.name}{rows}"

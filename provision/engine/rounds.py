"""One transaction on a group of hosts: acts and gathers anew in rounds, until nothing differs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from provision.engine import acting, arming, ending, preflight
from provision.engine.fleet import Fleet, Session, difference
from provision.engine.options import ApplyOptions
from provision.engine.outcome import OutcomeKind
from provision.engine.plan import Change, Plan, Wave, facts_changing_part, is_permanent, operations
from provision.engine.plan import waves as in_waves
from provision.engine.transaction import Transaction
from provision.facts.gather import HostSnapshot
from provision.model.errors import ChangedError, HostError, LockedError, StepError
from provision.model.text import count

ROUNDS = 3
"""Rounds after which resources that still differ are a failure."""
FACTS_ROUNDS = 2
"""Further rounds for changes of the facts: permanent resources such as packages, then the rest."""
SSH_RECHECK_S = 10.0
"""Seconds before hosts whose SSH path changed are checked again.

A neighbour may use its cached entries of the old path (ARP, FDB) for some seconds, so a first new
connection does not prove that the new path works.
"""


class ApplyRounds:
    """One transaction on `hosts`. `snapshots` is brought up to date with each round."""

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

    def run(self, plan: Plan) -> bool:
        """Make `plan`, and return True if every host keeps it, or has it pending with `manual`.

        Raises LockedError before any change.
        """
        try:
            self._make(plan)
        except KeyboardInterrupt:
            self._interrupt()
        finally:
            self.transaction.journal.close()
        aim = OutcomeKind.PENDING if self.options.manual else OutcomeKind.CONFIRMED
        outcomes = self.transaction.outcomes.values()
        return all(outcome.kind is aim for outcome in outcomes) and not self.transaction.errors

    def plan(self) -> Plan:
        """The difference that is left, by the latest snapshots."""
        fleet = Fleet(self.snapshots)
        return difference(self.session, fleet, self.hosts, destroy=self.options.destroy)

    def _make(self, plan: Plan) -> None:
        part = facts_changing_part(plan)
        waves = self._waves(part or plan)
        self._arm(part or plan, waves)
        if not self.transaction.errors:
            self._require_unchanged(plan)
        if self.transaction.errors:
            self._disarm()
            return
        left = self._act_until_equal(plan, waves)
        if not self.transaction.errors:
            self.transaction.errors += _differing(left)
        self._recheck_ssh(plan)
        self._end()

    def _waves(self, plan: Plan) -> tuple[Wave, ...]:
        return in_waves(operations(plan, txn=self.transaction.txn.id))

    def _arm(self, plan: Plan, waves: tuple[Wave, ...]) -> None:
        self.snapshots |= arming.arm(self.transaction, waves, permanent=is_permanent(plan))

    def _require_unchanged(self, plan: Plan) -> None:
        """Refuse hosts that were changed by others between the plan and the arming."""
        for change in set(self.plan().changes) ^ set(plan.changes):
            message = f"{_name(change)} has changed since the plan was made"
            self.transaction.errors.append(ChangedError(change.ref.host, message))

    def _disarm(self) -> None:
        arming.disarm(self.transaction)
        for error in self.transaction.errors:
            if isinstance(error, LockedError):
                raise error

    def _act_until_equal(self, plan: Plan, waves: tuple[Wave, ...]) -> Plan:
        """Act, gather anew and plan again until nothing differs; return the last plan."""
        part = facts_changing_part(plan)
        for _ in range(ROUNDS + (FACTS_ROUNDS if part else 0)):
            self._act(waves)
            self.snapshots |= arming.rearm(self.transaction, self.transaction.armed)
            plan = self.plan()
            if part:
                # Facts have changed: only now the host tells what else is wrong with it.
                self.transaction.errors += self._late_errors(plan)
            if self.transaction.errors or not plan.changes:
                break
            part = facts_changing_part(plan) if part else None
            waves = self._waves(part or plan)
            # New facts of one host may change others, which are not armed yet.
            self._arm(part or plan, waves)
            if self.transaction.errors:
                break
        return plan

    def _late_errors(self, plan: Plan) -> Iterator[HostError]:
        """Problems and conflicts that appear after a change: failures now, not refusals."""
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
        hosts = sorted({change.ref.host for change in plan.changes if change.ssh})
        if hosts and not self.transaction.errors:
            self.session.say(
                f"Waiting {SSH_RECHECK_S:g} s before checking {', '.join(hosts)} again"
            )
            time.sleep(SSH_RECHECK_S)
            arming.rearm(self.transaction, hosts)

    def _end(self) -> None:
        transaction = self.transaction
        failed = {error.host for error in transaction.errors}
        if failed and self.options.all_or_none:
            failed = set(transaction.armed)
        if failed:
            ending.revert(transaction, failed & set(transaction.armed), "failed")
        kept = [host for host in transaction.armed if host not in failed]
        if self.options.manual:
            ending.leave(transaction, kept)
        elif kept:
            ending.confirm(transaction, kept)

    def _interrupt(self) -> None:
        self.interrupted = True
        self.session.warn(
            "Interrupted. Rolling the change back; press Ctrl-C again to leave that to the hosts"
        )
        try:
            ending.revert(self.transaction, self.transaction.armed, "operator")
        except KeyboardInterrupt:
            self.session.warn("Left to the hosts: each rolls the change back at its deadline")
            ending.leave(self.transaction, self.transaction.armed)


def _differing(plan: Plan) -> Iterator[HostError]:
    for change in plan.changes:
        yield StepError(change.ref.host, f"{_name(change)} still differs")


def _name(change: Change) -> str:
    return f"{change.ref.kind} {change.ref.name}"

"""One change under the guards of its hosts: armed, made, looked at anew, and confirmed or undone.

Decides nothing of what is changed. It claims of a host only what that host has said.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provision.engine import guard
from provision.engine.artifacts import sign
from provision.engine.fleet import LOOK_S, Session, each, look_read, look_text
from provision.engine.guard import TransactionRecord, TransactionStep, Txn
from provision.engine.journal import LEFT, Journal
from provision.engine.outcome import CONFIRMED, UNCHANGED, Outcome, unknown
from provision.engine.plan import Operation, Wave
from provision.engine.report import ChangeResult
from provision.engine.status import current_user, describe_all, locked, pending, recorded_outcome
from provision.engine.undo import drop_stash, undo
from provision.facts.gather import HostSnapshot
from provision.model.errors import ConnectError, HostError, StepError
from provision.resources import script
from provision.resources.on_hosts import lock_path
from provision.transport.base import Output

STEP_S = 180.0
"""Seconds that the steps of one wave may take on a host, unless they bring something there."""
GRACE_S = 30.0
"""How long after its deadline a host that is not heard of is still asked."""
ASK_S = 2.0


@dataclass
class Transaction:
    """A change of some hosts. `window_s`: how long a host waits for the confirmation.

    `outcomes` has each host whose change has come to an end, or was left pending.
    """

    session: Session
    verb: str
    window_s: int
    txn: Txn = field(init=False)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    done: list[ChangeResult] = field(default_factory=list)
    errors: list[HostError] = field(default_factory=list)

    def __post_init__(self) -> None:
        inventory = self.session.inventory
        self.txn = Txn(
            secrets.token_hex(8), secrets.token_hex(16), current_user(), inventory.name, self.verb
        )
        self.journal = Journal(inventory.path, self.txn.id)
        self.armed: list[str] = []
        self._parts: Counter[str] = Counter()
        self._deadlines: dict[str, float] = {}

    # --- arming: all hosts before the first change on any ---

    def arm(self, waves: Sequence[Wave], *, kept: bool = False) -> Mapping[str, HostSnapshot]:
        """Hold every host that is not held yet, and look at it; why one cannot be is in `errors`.

        `kept`: the first part stays whatever comes, as packages do.
        """
        first: dict[str, tuple[Operation, ...]] = {}
        for wave in waves:
            first = wave | first
        first = {host: todo for host, todo in first.items() if host not in self.armed}
        if not first:
            return {}
        seconds = self.window_s + sum(self._budget(wave) for wave in waves)
        hosts = sorted(first)
        self.journal.note("arm", hosts=hosts, word=self.txn.token, verb=self.verb)
        looks: dict[str, HostSnapshot] = {}
        # Two runs at once meet at the same first host, and one of them goes on.
        for some in (hosts[:1], hosts[1:]):
            found, lost = each(
                self.session,
                some,
                lambda host: self._arm(host, self._part(first[host], kept=kept), seconds),
            )
            looks |= found
            self.errors += lost.values()
            if lost:
                break
        return looks

    def _budget(self, wave: Wave) -> int:
        slow = any(
            one.change.after is not None and one.change.after.before_removals
            for some in wave.values()
            for one in some
        )
        return int(self.session.timeout_s if slow else min(self.session.timeout_s, STEP_S))

    def _arm(self, host: str, part: TransactionStep, seconds: int) -> HostSnapshot:
        nonce = secrets.token_hex(8)
        self.armed.append(host)  # it may be, from here on
        self._until(host, seconds)
        text = guard.arm(self.txn, part, seconds=seconds, nonce=nonce)
        look = self._run(host, f"{text}\n{look_text(self.session, host, nonce)}", LOOK_S)
        if look.status == guard.BUSY:
            self.armed.remove(host)
            raise locked(host, guard.records(look.stdout))
        if look.status:
            self.armed.remove(host)
            raise ConnectError(host, f"its guard refuses a change: {_tail(look.stderr)}")
        return look_read(self.session, host, look, nonce)

    def _part(self, todo: tuple[Operation, ...], *, kept: bool = False) -> TransactionStep:
        return TransactionStep(undo(todo, txn=self.txn.id), drop_stash(todo, txn=self.txn.id), kept)

    # --- acting ---

    def act(self, wave: Wave) -> None:
        """Make one wave; what failed is in `errors`."""
        self.journal.note("act", hosts=sorted(wave))
        seconds = self.window_s + self._budget(wave)
        results, lost = each(self.session, wave, lambda host: self._act(host, wave[host], seconds))
        for host, outcomes in results.items():
            self._note(host, wave[host], outcomes)
        for host, error in lost.items():
            self.errors.append(StepError(host, f"lost while it was changed: {error.message}"))
            self.done += [ChangeResult(one.change, "unknown", 0.0) for one in wave[host]]

    def skip(self, wave: Wave) -> None:
        """Say that a wave is not made."""
        for todo in wave.values():
            self.done += [ChangeResult(operation.change, "not run", 0.0) for operation in todo]

    def _act(
        self, host: str, todo: tuple[Operation, ...], seconds: int
    ) -> tuple[script.Outcome | None, ...]:
        steps = tuple(sign(operation.steps) for operation in todo)
        for upload in script.uploads(tuple(step for some in steps for step in some)):
            self.session.transport.send(
                host, upload.source, upload.target, timeout_s=self.session.timeout_s
            )
        self._parts[host] += 1
        number, nonce = self._parts[host], secrets.token_hex(8)
        held = lock_path(self.session.inventory.name)
        change = script.render(steps, nonce=nonce, lock=held, journal=guard.journal(number))
        part = self._part(todo) if number > 1 else None
        if part is not None:
            self._until(host, seconds)
        text = guard.act(self.txn, number, change, part, seconds=seconds, nonce=nonce)
        output = self._run(host, text, self.session.timeout_s)
        if output.status == script.LOCKED:
            raise ConnectError(host, "another program holds the lock of this inventory")
        if output.status in (guard.GONE, guard.REFUSED):
            why = "it has undone the change" if output.status == guard.GONE else "it has changed"
            raise ConnectError(host, f"{why}: {_tail(output.stdout + output.stderr)}")
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
                self.done.append(ChangeResult(operation.change, "not run", 0.0))
                continue
            status = "failed" if outcome.status else "done"
            self.done.append(ChangeResult(operation.change, status, outcome.seconds, outcome.note))
            if outcome.status:
                failed = True
                ref = operation.change.ref
                tail = outcome.output[-800:] or f"exit status {outcome.status}"
                self.errors.append(StepError(host, f"{ref.kind} {ref.name} failed: {tail}"))
        if None in outcomes and not failed:
            self.errors.append(StepError(host, "its script ended before its end"))

    # --- looking anew ---

    def look(self, hosts: Iterable[str]) -> Mapping[str, HostSnapshot]:
        """Look over new connections that carry whole packets; from here the window counts."""
        self.session.transport.close()
        looks, lost = each(self.session, hosts, self._look)
        for host, error in lost.items():
            self.errors.append(StepError(host, f"lost after it was changed: {error.message}"))
        return looks

    def _look(self, host: str) -> HostSnapshot:
        nonce = secrets.token_hex(8)
        text = guard.rearm(self.txn, seconds=self.window_s, nonce=nonce)
        output = self._run(host, f"{text}\n{look_text(self.session, host, nonce)}", LOOK_S)
        if output.status in (guard.GONE, guard.REFUSED):
            raise ConnectError(host, f"it does not keep the change: {_tail(output.stderr)}")
        if not guard.kept(output.stdout, nonce=nonce):
            raise ConnectError(host, f"of {guard.PADDING} bytes sent to and from it some are lost")
        self._until(host, self.window_s)
        return look_read(self.session, host, output, nonce)

    # --- the end ---

    def confirm(self, hosts: Iterable[str]) -> None:
        """Keep the change on `hosts`, at once; what each says is its state."""
        asked = sorted(hosts)
        self.journal.note("confirm", hosts=asked)
        self._end(asked, lambda: guard.confirm(self.txn), gone=CONFIRMED)
        self._note_end(asked)

    def disarm(self) -> None:
        """Let go of every host, on none of which anything was changed."""
        self.journal.note("disarm", hosts=self.armed)
        self.session.transport.close()
        text = guard.revert(self.txn.id, "none", nonce=secrets.token_hex(4))
        # One that does not answer lets go at its deadline; there is nothing to undo by then.
        each(self.session, self.armed, lambda host: self._run(host, text, LOOK_S))

    def revert(self, hosts: Iterable[str], reason: str) -> None:
        """Undo the change on `hosts` now; one that is not heard of does it at its deadline."""
        asked = sorted(hosts)
        self.journal.note("revert", hosts=asked, reason=reason)
        self.session.transport.close()
        nonce = secrets.token_hex(4)
        self._end(asked, lambda: guard.revert(self.txn.id, reason, nonce=nonce), gone=UNCHANGED)
        self._note_end(asked)

    def leave(self, hosts: Sequence[str]) -> None:
        """Say of `hosts` that the change is still to be confirmed or undone there."""
        self.journal.note(LEFT, hosts=list(hosts))
        for host in hosts:
            left = self._deadlines[host] - time.monotonic()
            self.outcomes[host] = pending(left)

    def _note_end(self, hosts: Sequence[str]) -> None:
        # `recovery` takes every host in `states` for ended: none is pending here.
        ended = {host: self.outcomes[host] for host in hosts}
        self.journal.note("ended", states=describe_all(ended))

    def _end(self, hosts: Sequence[str], text: Callable[[], str], *, gone: Outcome) -> None:
        for host in hosts:
            self.outcomes[host] = pending(self._deadlines.get(host, 0) - time.monotonic())
        answers, lost = each(
            self.session, hosts, lambda host: self._run(host, text(), self.session.timeout_s)
        )
        for host, output in answers.items():
            self.outcomes[host] = self._outcome(guard.records(output.stdout), gone)
        self._ask({h for h in hosts if h in lost or not self.outcomes[h].is_final}, gone)

    def _ask(self, hosts: set[str], gone: Outcome) -> None:
        """Ask until every host has come to an end, or should have by far."""
        last_seen = time.time()
        for host in sorted(hosts):
            late = self._deadlines.get(host, 0) - time.monotonic() + GRACE_S
            self.session.warn(
                f"{host}: no answer; it is asked for {max(0, late):.0f} s more, until it should "
                "have undone the change by itself"
            )
        while hosts:
            now = time.monotonic()
            lost = {host for host in hosts if now > self._deadlines.get(host, 0) + GRACE_S}
            self.outcomes |= dict.fromkeys(lost, unknown(last_seen))
            hosts = hosts - lost
            if not hosts:
                return
            time.sleep(ASK_S)
            self.session.transport.close()
            answers, _ = each(self.session, hosts, lambda h: self._run(h, guard.status(), LOOK_S))
            for host, output in answers.items():
                outcome = self._outcome(guard.records(output.stdout), gone)
                if outcome.is_final:
                    self.outcomes[host] = outcome
                    hosts = hosts - {host}

    def _outcome(self, records: Iterable[TransactionRecord], gone: Outcome) -> Outcome:
        mine = [record for record in records if record.id == self.txn.id]
        return recorded_outcome(mine[0]) if mine else gone

    def _until(self, host: str, seconds: float) -> None:
        self._deadlines[host] = time.monotonic() + seconds

    def _run(self, host: str, text: str, timeout_s: float) -> Output:
        limit = min(timeout_s, self.session.timeout_s)
        return self.session.transport.run(host, text, timeout_s=limit)


def _tail(text: str) -> str:
    return text.strip()[-500:] or "it says no more"

"""One comparison: candidates applied, verified, measured beside the limit, and destroyed.

What stands is destroyed in any case, after Ctrl-C too; a candidate that fails is told, and is not
the end of the others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from provision.compare import candidates
from provision.compare.bench import Runner
from provision.compare.candidates import Candidate
from provision.compare.figures import MEASURES
from provision.compare.probe import PATIENCE_S, Endpoints
from provision.compare.progress import Progress
from provision.compare.result import Comparison, MeasuredHost, Settings
from provision.compare.testbed import Deployment, host_lane, surveyed, sweep
from provision.engine.fleet import Session
from provision.model.errors import ProvisionError, UnfitError, UsageError

SETTLE_S = 300
"""What a server lives beyond all measurements of its turn."""


def compared(
    session: Session,
    hosts: tuple[str, ...],
    chosen: Sequence[Candidate],
    terms: Settings,
    *,
    lacking: Mapping[str, str],
    pool: str | None = None,
    strict: bool = False,
) -> Comparison:
    """Compare `chosen` between the first two of `hosts`.

    `lacking`: candidates that are not compared, and why. `strict`: one that the hosts cannot serve
    is an error, too. Raises what can be known before the first change.
    """
    if len(hosts) < 2:
        raise UsageError("comparing needs two hosts", "name more in the inventory, or by --limit")
    bench = Runner(session, hosts[0], hosts[1], terms)
    # What a run that was killed has left on the hosts goes first.
    bench.sweep()
    sweep(session, hosts)
    ground, fleet, unfit = surveyed(session, hosts, chosen, pool, strict=strict)
    machines = bench.survey(fleet)
    able = tuple(one for one in chosen if one.name not in unfit)
    # What a method keeps beside its inventory, such as keys, goes with the run.
    with tempfile.TemporaryDirectory(prefix="provision-compare-") as folder:
        stand = Deployment(session, hosts, ground, Path(folder))
        run = _Comparison(session, hosts[1], terms, bench, stand, able, strict=strict)
        return run.whole(machines, {**lacking, **unfit})


class _Comparison:
    """The state of one run. It is measured to the host `target`."""

    def __init__(
        self,
        session: Session,
        target: str,
        terms: Settings,
        bench: Runner,
        stand: Deployment,
        chosen: tuple[Candidate, ...],
        *,
        strict: bool,
    ) -> None:
        self.session, self.target, self.terms, self.strict = session, target, terms, strict
        self.bench, self.stand, self.chosen = bench, stand, chosen
        self.turns = candidates.turns(chosen) or ((),)
        self.standing: list[Candidate | None] = []

    def whole(self, machines: tuple[MeasuredHost, ...], lacking: Mapping[str, str]) -> Comparison:
        """All turns, then switching from each to the next."""
        begin = time.monotonic()
        interrupted = False
        self.session.say(self._plan())
        self.record = Progress(self.session.say, self.turns, lacking)
        try:
            for number, group in enumerate(self.turns, 1):
                self._turn(number, group)
            good = [one for one in self.chosen if self.record.status(one.name) == "compared"]
            self._switch(good)
        except KeyboardInterrupt:
            interrupted = True
            self.session.say("interrupted: what stands is destroyed (again: it is left)")
        except ProvisionError as error:  # a host is lost: there is nothing left to compare
            self.record.fail(None, error)
        finally:
            self._clear()
        return Comparison(
            machines,
            self.bench.one_kernel,
            self.terms,
            tuple(self.record.courses.values()),
            tuple(self.record.readings),
            tuple(self.record.errors),
            interrupted,
            time.monotonic() - begin,
        )

    def _plan(self) -> str:
        """How much there is to do, said before it begins."""
        lanes = sum(len(group) + 1 for group in self.turns)
        count = lanes * self.terms.rounds * len(MEASURES)
        return (
            f"{len(self.chosen)} methods in {len(self.turns)} turns: {count} measurements of "
            f"{self.terms.seconds} s, and each method is made, switched to and removed"
        )

    def _turn(self, number: int, group: tuple[Candidate, ...]) -> None:
        """Candidates that stand side by side, in rounds with the limit.

        Where one moves the NIC, the limit is measured before and after it instead.
        """
        names = ", ".join(one.name for one in group)
        self.session.say(f"turn {number} of {len(self.turns)}: {names or 'host to host alone'}")
        limit = host_lane(self.session.inventory, self.target)
        rounds = range(1, self.terms.rounds + 1)
        apart = any(one.alone for one in group)
        half = (self.terms.rounds + 1) // 2 if apart else 0
        self._rounds(number, rounds[:half], (limit,))
        # A packet passes the rules of what was made later before its own: the most come first.
        standing = [lane for one in reversed(group) if (lane := self._raised(one))]
        standing.reverse()
        self._rounds(number, rounds, standing if apart else (limit, *standing))
        for one in group:
            self._razed(one)
        self._rounds(number, rounds[half:] if apart else range(0), (limit,))

    def _raised(self, one: Candidate) -> Endpoints | None:
        """Apply and verify a candidate; how it is measured, or None where that failed."""
        with self.record.told(one.name, optional=not self.strict):
            self.standing.append(one)
            self.record.took(one.name, "apply", self.stand.apply(one))
            self.record.took(one.name, "verify", self.stand.verify(one))
            return self.stand.lane(one)
        return None

    def _razed(self, one: Candidate) -> None:
        if one not in self.standing:
            return
        with self.record.told(one.name):
            seconds = self.stand.destroy(one)
            self.standing.remove(one)
            if self.record.status(one.name) != "left out":
                self.record.took(one.name, "destroy", seconds)

    @contextmanager
    def _served(self, turn: int, lanes: Sequence[Endpoints]) -> Iterator[list[Endpoints]]:
        """Lanes whose servers run."""
        runs = len(lanes) * self.terms.rounds * len(MEASURES)
        life_s = runs * (self.terms.seconds + PATIENCE_S) + SETTLE_S
        try:
            failed = self.bench.open(lanes, life_s)
            sizes = self.bench.mtus(lanes)
            for name, why in failed.items():
                self.record.fail(name, UnfitError(self.target, f"{name}: {why}"))
            good = [lane for lane in lanes if lane.candidate not in failed]
            for lane in good:
                self.record.served(lane.candidate, turn, sizes.get(lane.candidate))
            yield good
        finally:
            with self.record.told(None):
                self.bench.close()

    def _rounds(self, turn: int, rounds: range, lanes: Sequence[Endpoints]) -> None:
        """Each measurement of all lanes in turn, so that one and its limit are close in time."""
        if not rounds or not lanes:
            return
        with self._served(turn, lanes) as good:
            for number, what in product(rounds, MEASURES):
                told = [
                    self._measured(turn, number, what, lane, good)
                    for lane in _rotated(good, number)
                ]
                if told:
                    head = f"round {number} of {self.terms.rounds}: {what}"
                    self.session.say(f"{head}: {'; '.join(told)}")

    def _measured(
        self, turn: int, number: int, what: str, lane: Endpoints, lanes: list[Endpoints]
    ) -> str:
        try:
            figures = self.bench.measure(what, lane)
        except ProvisionError as error:
            self.record.fail(lane.candidate, error)
            lanes.remove(lane)
            return f"{lane.candidate} failed"
        return self.record.read(lane.candidate, turn, number, figures)

    def _switch(self, chain: list[Candidate]) -> None:
        """From each to the next under one name, and from the last to the first."""
        if len(chain) < 2:
            return
        self.session.say("switching from each to the next")
        self.standing.append(None)
        earlier: Candidate | None = None
        for one in (*chain, chain[0]):
            with self.record.told(one.name):
                seconds = self.stand.apply(one, switching=True)
                if earlier is not None:
                    self.record.took(one.name, "switch", seconds, earlier.name)
                earlier = one
                continue
            break

    def _clear(self) -> None:
        """Destroy what stands; it is tried for each, and what failed is told."""
        with self.record.told(None):
            self.bench.close()
        for one in reversed(self.standing):
            with self.record.told(one.name if one else None):
                self.stand.destroy(one)
        self.standing.clear()


def _rotated(lanes: list[Endpoints], by: int) -> list[Endpoints]:
    """Another one begins in each round."""
    cut = by % len(lanes) if lanes else 0
    return lanes[cut:] + lanes[:cut]

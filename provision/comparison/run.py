"""One comparison: candidates applied, verified, measured beside the limit, and destroyed.

What stands is destroyed in any case, after Ctrl-C too; a candidate that fails is told, and is not
the end of the others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from provision.comparison import candidates
from provision.comparison.bench import Bench
from provision.comparison.candidates import LIMIT, Candidate
from provision.comparison.figures import FIGURES, MEASURES, Reading
from provision.comparison.ground import Stand, host_lane, surveyed, sweep
from provision.comparison.probe import PATIENCE_S, Lane
from provision.comparison.result import Comparison, Course, Terms
from provision.errors import ProvisionError, UnfitError, UsageError
from provision.fleet import Session

SETTLE_S = 300
"""What a server lives beyond all measurements of its turn."""


def compared(
    session: Session,
    hosts: tuple[str, ...],
    chosen: Sequence[Candidate],
    terms: Terms,
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
    # What a method keeps beside its inventory, such as keys, goes with the run.
    with tempfile.TemporaryDirectory(prefix="provision-compare-") as folder:
        run = _Run(session, hosts, terms, strict=strict)
        run.prepare(pool, Path(folder))
        return run.whole(tuple(chosen), lacking)


class _Run:
    """The state of one run; all that is measured is kept, whatever becomes of the rest."""

    def __init__(
        self, session: Session, hosts: tuple[str, ...], terms: Terms, *, strict: bool
    ) -> None:
        self.session, self.hosts, self.terms, self.strict = session, hosts, terms, strict
        self.bench = Bench(session, hosts[0], hosts[1], terms)
        self.courses: dict[str, Course] = {}
        self.readings: list[Reading] = []
        self.errors: list[ProvisionError] = []
        self.standing: list[Candidate | None] = []

    def prepare(self, pool: str | None, folder: Path) -> None:
        """Remove what a run that was killed has left on the hosts, and look at them."""
        self.bench.sweep()
        sweep(self.session, self.hosts)
        ground, fleet = surveyed(self.session, self.hosts, pool)
        self.machines = self.bench.survey(fleet)
        self.stand = Stand(self.session, self.hosts, ground, folder)

    def whole(self, chosen: tuple[Candidate, ...], lacking: Mapping[str, str]) -> Comparison:
        """All turns, then switching from each to the next."""
        begin = time.monotonic()
        interrupted = False
        turns = candidates.turns(chosen) or ((),)
        self.courses = {LIMIT: Course(LIMIT, "not reached")}
        for number, group in enumerate(turns, 1):
            for one in group:
                self.courses[one.name] = Course(one.name, "not reached", turn=number)
        self.courses |= {name: Course(name, "left out", why) for name, why in lacking.items()}
        try:
            for number, group in enumerate(turns, 1):
                self._turn(number, group)
            self._switch([one for one in chosen if self.courses[one.name].status == "compared"])
        except KeyboardInterrupt:
            interrupted = True
            self.session.say("interrupted: what stands is destroyed (again: it is left)")
        except ProvisionError as error:  # a host is lost: there is nothing left to compare
            self._fail(None, error)
        finally:
            self._clear()
        return Comparison(
            self.machines,
            self.bench.one_kernel,
            self.terms,
            tuple(self.courses.values()),
            tuple(self.readings),
            tuple(self.errors),
            interrupted,
            time.monotonic() - begin,
        )

    def _turn(self, number: int, group: tuple[Candidate, ...]) -> None:
        """Candidates that stand side by side, in rounds with the limit.

        Where one moves the NIC, the limit is measured before and after it instead.
        """
        limit = host_lane(self.session.inventory, self.hosts[1])
        rounds = range(1, self.terms.rounds + 1)
        apart = any(one.alone for one in group)
        half = (self.terms.rounds + 1) // 2 if apart else 0
        self._rounds(number, rounds[:half], (limit,))
        standing = [lane for one in group if (lane := self._raised(one))]
        self._rounds(number, rounds, standing if apart else (limit, *standing))
        for one in reversed(group):
            self._razed(one)
        self._rounds(number, rounds[half:] if apart else range(0), (limit,))

    def _raised(self, one: Candidate) -> Lane | None:
        """Apply and verify a candidate; how it is measured, or None where that failed."""
        with self._told(one.name, optional=not self.strict):
            self.standing.append(one)
            self._note(one, "apply", self.stand.apply(one))
            self._note(one, "verify", self.stand.verify(one))
            return self.stand.lane(one)
        return None

    def _razed(self, one: Candidate) -> None:
        if one not in self.standing:
            return
        with self._told(one.name):
            seconds = self.stand.destroy(one)
            self.standing.remove(one)
            if self.courses[one.name].status != "left out":
                self._note(one, "destroy", seconds)

    @contextmanager
    def _served(self, turn: int, lanes: Sequence[Lane]) -> Iterator[list[Lane]]:
        """Lanes whose servers run."""
        runs = len(lanes) * self.terms.rounds * len(MEASURES)
        life_s = runs * (self.terms.seconds + PATIENCE_S) + SETTLE_S
        try:
            failed = self.bench.open(lanes, life_s)
            sizes = self.bench.mtus(lanes)
            good = [lane for lane in lanes if lane.candidate not in failed]
            for name, why in failed.items():
                self._fail(name, UnfitError(self.hosts[1], f"{name}: {why}"))
            for lane in good:
                course = self.courses[lane.candidate]
                size = sizes.get(lane.candidate)
                self.courses[lane.candidate] = replace(course, mtu=size, turn=course.turn or turn)
            yield good
        finally:
            with self._told(None):
                self.bench.close()

    def _rounds(self, turn: int, rounds: range, lanes: Sequence[Lane]) -> None:
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

    def _measured(self, turn: int, number: int, what: str, lane: Lane, lanes: list[Lane]) -> str:
        name = lane.candidate
        try:
            figures = self.bench.measure(what, lane)
        except ProvisionError as error:
            self._fail(name, error)
            lanes.remove(lane)
            return f"{name} failed"
        self.readings += [Reading(name, turn, number, key, v) for key, v in figures.items()]
        if self.courses[name].status == "not reached":
            self.courses[name] = replace(self.courses[name], status="compared")
        return f"{name} {_brief(figures)}"

    def _switch(self, chain: list[Candidate]) -> None:
        """From each to the next under one name, and from the last to the first."""
        if len(chain) < 2:
            return
        self.standing.append(None)
        earlier: Candidate | None = None
        for one in (*chain, chain[0]):
            with self._told(one.name):
                seconds = self.stand.apply(one, switching=True)
                if earlier is not None:
                    self._note(one, "switch", seconds, f"from {earlier.name} ")
                    course = self.courses[one.name]
                    self.courses[one.name] = replace(course, switched_from=earlier.name)
                earlier = one
                continue
            break

    def _clear(self) -> None:
        """Destroy what stands; it is tried for each, and what failed is told."""
        with self._told(None):
            self.bench.close()
        for one in reversed(self.standing):
            with self._told(one.name if one else None):
                self.stand.destroy(one)
        self.standing.clear()

    @contextmanager
    def _told(self, name: str | None, *, optional: bool = False) -> Iterator[None]:
        """What goes wrong in here is told, of a candidate or of the run, which goes on.

        `optional`: what the hosts cannot serve is left out.
        """
        try:
            yield
        except ProvisionError as error:
            if name and optional and isinstance(error, UnfitError):
                why = _line(error)
                self.courses[name] = replace(self.courses[name], status="left out", reason=why)
                self.session.say(f"{name}: left out: {why}")
            else:
                self._fail(name, error)

    def _fail(self, name: str | None, error: ProvisionError) -> None:
        why = _line(error)
        if name:
            self.courses[name] = replace(self.courses[name], status="failed", reason=why)
        self.errors.append(error)
        self.session.say(f"{name}: failed: {why}" if name else why)

    def _note(self, one: Candidate, step: str, seconds: float, how: str = "") -> None:
        course = self.courses[one.name]
        noted = {**(course.seconds or {}), step: seconds}
        self.courses[one.name] = replace(course, seconds=noted)
        self.session.say(f"{one.name}: {step} {how}took {seconds:.1f} s")


def _line(error: ProvisionError) -> str:
    return "; ".join(str(error).splitlines())


def _rotated(lanes: list[Lane], by: int) -> list[Lane]:
    """Another one begins in each round."""
    cut = by % len(lanes) if lanes else 0
    return lanes[cut:] + lanes[:cut]


def _brief(figures: dict[str, float]) -> str:
    units = {one.key: one.unit for one in FIGURES}
    return ", ".join(f"{value:.3g} {units[key]}" for key, value in figures.items())

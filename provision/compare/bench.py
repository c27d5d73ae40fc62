"""Two hosts between which is measured: servers on the one, measurements from the other in turn.

Changes nothing but processes, and ends those.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from provision.compare import answers, probe
from provision.compare.answers import Clock, Measured
from provision.compare.probe import Endpoints
from provision.compare.result import MeasuredHost, Settings
from provision.engine.fleet import Fleet, Session, each
from provision.model.errors import FactsError, UnfitError

TICKS_S = 100
"""Ticks of /proc/stat in a second, on every Linux that runs Docker (USER_HZ)."""
QUICK_S = 30.0
TRIES, AGAIN_S = 6, 0.5


class Runner:
    """Measures from `source` to `target`, one after the other."""

    def __init__(self, session: Session, source: str, target: str, terms: Settings) -> None:
        self.session, self.source, self.target, self.terms = session, source, target, terms
        self.one_kernel = False
        self._open = False

    def survey(self, fleet: Fleet) -> tuple[MeasuredHost, ...]:
        """What both hosts are. Raises UnfitError for what one lacks."""
        ends = (self.source, self.target)
        said = {host: self._run(host, probe.survey()) for host in ends}
        for host, text in said.items():
            if lacking := answers.missing(text):
                packages = sorted({probe.PACKAGES.get(tool, tool) for tool in lacking})
                told = f"comparing needs {', '.join(lacking)}, which it lacks"
                raise UnfitError(host, told, f"install there {' '.join(packages)}")
        again = self._run(self.source, probe.clock_only())
        first, between, last = (
            self._clock(text, 0) for text in (*(said[host] for host in ends), again)
        )
        self.one_kernel = answers.one_kernel(first, between, last)
        return tuple(
            answers.machine(host, fleet.facts[host].docker, text) for host, text in said.items()
        )

    def open(self, lanes: Iterable[Endpoints], life_s: int) -> dict[str, str]:
        """Start the servers of all lanes, which end by themselves after `life_s`.

        Those that did not start, by candidate, and why.
        """
        self._open = True
        text = self._run(self.target, probe.serve(lanes, life_s), QUICK_S * 2)
        return answers.failed(text)

    def mtus(self, lanes: Iterable[Endpoints]) -> dict[str, int]:
        """The MTU of the link by which each lane's source sends, by candidate."""
        return answers.mtus_told(self._run(self.source, probe.mtus(lanes)))

    def measure(self, what: str, lane: Endpoints) -> dict[str, float]:
        """Figures of one measurement. Raises FactsError with the reason where it failed."""
        apart = what == "tcp_8" and not self.one_kernel
        before = self._clock(self._run(self.target, probe.clock_only()), 0) if apart else None
        text, found = self._once(what, lane)
        if what != "tcp_8" or not found.bytes:
            return found.figures
        gigabytes = found.bytes / 1e9
        cpu = {"cpu": _spent(self._clock(text, 0), self._clock(text, 1)) / gigabytes}
        if before is not None:
            after = self._clock(self._run(self.target, probe.clock_only()), 0)
            far = _spent(before, after) / gigabytes
            cpu = {"cpu": cpu["cpu"] + far, "cpu_from": cpu["cpu"], "cpu_to": far}
        return found.figures | cpu

    def _once(self, what: str, lane: Endpoints) -> tuple[str, Measured]:
        script = probe.measure(what, lane, self.terms)
        limit_s = self.terms.seconds + probe.PATIENCE_S + QUICK_S
        for tries in range(TRIES):
            text = self._run(self.source, script, limit_s)
            try:
                return text, answers.measured(what, text)
            except ValueError as error:
                if tries + 1 < TRIES and answers.not_yet(str(error)):
                    time.sleep(AGAIN_S)
                    continue
                raise FactsError(self.source, f"{lane.candidate}: {what}: {error}") from error
        raise AssertionError("not reached")

    def close(self) -> None:
        """End all that runs, on both hosts. Raises HostError."""
        if self._open:
            self.sweep()
            self._open = False

    def sweep(self) -> None:
        """End all that runs of any comparison, also of one that was killed. Raises HostError."""
        ends = (self.source, self.target)
        _, errors = each(self.session, ends, lambda host: self._run(host, probe.stop()))
        for error in errors.values():
            raise error

    def _clock(self, text: str, which: int) -> Clock:
        found = answers.clocks(text)
        if len(found) <= which:
            raise FactsError(self.source, "/proc/stat cannot be read there")
        return found[which]

    def _run(self, host: str, script: str, timeout_s: float = QUICK_S) -> str:
        return self.session.transport.run(host, script, timeout_s=timeout_s).stdout


def _spent(before: Clock, after: Clock) -> float:
    return (after.busy - before.busy) / TICKS_S

"""One comparison: candidates are applied, verified, measured next to the baseline, destroyed.

Everything deployed is destroyed at the end, also after Ctrl-C. A candidate that fails is
reported, and the others go on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from provision.compare import candidates
from provision.compare.candidates import Candidate
from provision.compare.deployment import Deployment, baseline_path, find_site, remove_leftovers
from provision.compare.figures import MEASUREMENTS
from provision.compare.probe import GRACE_S, MeasuredPath
from provision.compare.progress import Progress
from provision.compare.result import Comparison, MeasuredHost, Settings
from provision.compare.runner import Runner
from provision.engine.fleet import Session
from provision.model.errors import ProvisionError, UnfitError, UsageError
from provision.model.text import count

SETTLE_S = 300
"""Seconds that servers live longer than all measurements of their group can take."""


def compared(
    session: Session,
    hosts: tuple[str, ...],
    chosen: Sequence[Candidate],
    settings: Settings,
    *,
    pool: str | None = None,
    strict: bool = False,
) -> Comparison:
    """Compare candidates between the first two of `hosts`.

    `strict`: a candidate that the hosts do not support is an error. Raises UsageError and HostError
    before the first change.
    """
    if len(hosts) < 2:
        raise UsageError(
            "compare needs two hosts", "add hosts to the inventory, or select more by --limit"
        )
    runner = Runner(session, hosts[0], hosts[1], settings)
    runner.stop_all()
    remove_leftovers(session, hosts)
    site, fleet, unfit = find_site(session, hosts, chosen, pool, strict=strict)
    measured_hosts = runner.survey(fleet)
    fit = tuple(candidate for candidate in chosen if candidate.name not in unfit)
    # Methods write files next to their inventory, such as the keys of certificates: these go
    # with the folder.
    with tempfile.TemporaryDirectory(prefix="provision-compare-") as folder:
        deployment = Deployment(session, hosts, site, Path(folder))
        run = _ComparisonRun(session, hosts[1], settings, runner, deployment, fit, strict=strict)
        return run.result(measured_hosts, unfit)


class _ComparisonRun:
    """The state of one run, which measures to the host `target`."""

    def __init__(
        self,
        session: Session,
        target: str,
        settings: Settings,
        runner: Runner,
        deployment: Deployment,
        chosen: tuple[Candidate, ...],
        *,
        strict: bool,
    ) -> None:
        self.session, self.target, self.settings = session, target, settings
        self.runner, self.deployment, self.chosen = runner, deployment, chosen
        self.strict = strict
        self.groups = candidates.groups(chosen) or ((),)
        self.deployed: list[Candidate | None] = []
        """Candidates on the hosts; None is the one that was switched to."""

    def result(self, hosts: tuple[MeasuredHost, ...], unavailable: Mapping[str, str]) -> Comparison:
        """Run everything: measure all groups, then switch from each candidate to the next."""
        start = time.monotonic()
        interrupted = False
        self.session.say(self._announcement())
        self.progress = Progress(self.session.say, self.groups, unavailable)
        try:
            for number, group in enumerate(self.groups, 1):
                self._measure_group(number, group)
            self._switch([c for c in self.chosen if self.progress.status(c.name) == "compared"])
        except KeyboardInterrupt:
            interrupted = True
            self.session.say(
                "Interrupted: removing what was deployed (another Ctrl-C leaves it on the hosts)"
            )
        except ProvisionError as error:  # without one of the hosts, nothing can be compared
            self.progress.fail(None, error)
        finally:
            self._clean_up()
        return Comparison(
            hosts,
            self.runner.shared_kernel,
            self.settings,
            tuple(self.progress.methods.values()),
            tuple(self.progress.measurements),
            tuple(self.progress.errors),
            interrupted,
            time.monotonic() - start,
        )

    def _announcement(self) -> str:
        paths = sum(len(group) + 1 for group in self.groups)
        measurements = paths * self.settings.rounds * len(MEASUREMENTS)
        methods = count(len(self.chosen), "method")
        return (
            f"Comparing {methods} in {count(len(self.groups), 'group')}: "
            f"{count(measurements, 'measurement')} of {self.settings.seconds} s; each method is "
            "applied, switched to, destroyed"
        )

    def _measure_group(self, number: int, group: tuple[Candidate, ...]) -> None:
        """Deploy candidates together, and measure them and the baseline in rounds.

        If one moves the NIC, measure the baseline before and after it instead.
        """
        names = ", ".join(candidate.name for candidate in group) or "only host to host"
        self.session.say(f"Measuring group {number} of {len(self.groups)}: {names}")
        baseline = baseline_path(self.session.inventory, self.target)
        rounds = range(1, self.settings.rounds + 1)
        moves_nic = any(candidate.alone for candidate in group)
        half = (self.settings.rounds + 1) // 2 if moves_nic else 0
        self._measure_rounds(number, rounds[:half], (baseline,))
        # Docker and provision insert rules at the top of a chain, so packets of a candidate pass
        # the rules of all candidates deployed after it. Deployed in reverse, the first of
        # CANDIDATES passes none of the others.
        paths = [path for candidate in reversed(group) if (path := self._deploy(candidate))]
        paths.reverse()
        self._measure_rounds(number, rounds, paths if moves_nic else (baseline, *paths))
        for candidate in group:
            self._destroy(candidate)
        self._measure_rounds(number, rounds[half:] if moves_nic else range(0), (baseline,))

    def _deploy(self, candidate: Candidate) -> MeasuredPath | None:
        """Apply and verify a candidate; return its path, or None if that failed."""
        with self.progress.recording(candidate.name, optional=not self.strict):
            # Before apply: if apply is interrupted, part of it may be on the hosts.
            self.deployed.append(candidate)
            self.progress.record_time(candidate.name, "apply", self.deployment.apply(candidate))
            self.progress.record_time(candidate.name, "verify", self.deployment.verify(candidate))
            return self.deployment.path(candidate)
        return None

    def _destroy(self, candidate: Candidate) -> None:
        if candidate not in self.deployed:
            return
        with self.progress.recording(candidate.name):
            seconds = self.deployment.destroy(candidate)
            self.deployed.remove(candidate)
            if self.progress.status(candidate.name) != "left out":
                self.progress.record_time(candidate.name, "destroy", seconds)

    @contextmanager
    def _servers(self, group: int, paths: Sequence[MeasuredPath]) -> Iterator[list[MeasuredPath]]:
        """Start the servers of paths; yield the paths whose servers run."""
        count = len(paths) * self.settings.rounds * len(MEASUREMENTS)
        life_s = count * (self.settings.seconds + GRACE_S) + SETTLE_S
        try:
            failed = self.runner.start_servers(paths, life_s)
            mtus = self.runner.mtus(paths)
            for name, reason in failed.items():
                self.progress.fail(name, UnfitError(self.target, f"{name}: {reason}"))
            served = [path for path in paths if path.candidate not in failed]
            for path in served:
                self.progress.record_mtu(path.candidate, group, mtus.get(path.candidate))
            yield served
        finally:
            with self.progress.recording(None):
                self.runner.stop_servers()

    def _measure_rounds(self, group: int, rounds: range, paths: Sequence[MeasuredPath]) -> None:
        """Run each measurement on all paths in turn, so that ratios compare neighbours in time."""
        if not rounds or not paths:
            return
        with self._servers(group, paths) as served:
            # All measurements of a round, then the next round: a disturbance of some minutes then
            # changes one round of each figure, not all rounds of one.
            for number, measurement in product(rounds, MEASUREMENTS):
                texts = [
                    self._measure(group, number, measurement, path, served)
                    for path in _rotated(served, number)
                ]
                if texts:
                    head = f"Round {number} of {self.settings.rounds}: {measurement}"
                    self.session.say(f"{head}: {'; '.join(texts)}")

    def _measure(
        self,
        group: int,
        number: int,
        measurement: str,
        path: MeasuredPath,
        served: list[MeasuredPath],
    ) -> str:
        """Measure a path, and report it as text; a path that fails is taken out of `served`."""
        try:
            figures = self.runner.measure(measurement, path)
        except ProvisionError as error:
            self.progress.fail(path.candidate, error)
            served.remove(path)
            return f"{path.candidate} failed"
        return self.progress.record_figures(path.candidate, group, number, figures)

    def _switch(self, chain: list[Candidate]) -> None:
        """Switch from each candidate to the next, and from the last to the first."""
        if len(chain) < 2:
            return
        self.session.say("Switching from each method to the next")
        self.deployed.append(None)
        previous: Candidate | None = None
        for candidate in (*chain, chain[0]):
            with self.progress.recording(candidate.name):
                seconds = self.deployment.apply(candidate, switching=True)
                if previous is not None:
                    self.progress.record_time(candidate.name, "switch", seconds, previous.name)
                previous = candidate
                continue
            break

    def _clean_up(self) -> None:
        """Stop the servers and destroy what is deployed, each even if another fails."""
        with self.progress.recording(None):
            self.runner.stop_servers()
        for candidate in reversed(self.deployed):
            with self.progress.recording(candidate.name if candidate else None):
                self.deployment.destroy(candidate)
        self.deployed.clear()


def _rotated(paths: list[MeasuredPath], by: int) -> list[MeasuredPath]:
    """The paths in an order that starts with another one in each round."""
    # Otherwise the same path would always run first, after the pause between measurements.
    cut = by % len(paths) if paths else 0
    return paths[cut:] + paths[:cut]

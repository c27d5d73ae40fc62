"""Measurements between two hosts: servers on the target, one measurement at a time at the source.

Starts and ends processes on the hosts, and changes nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from provision.compare import answers, probe
from provision.compare.answers import Clock, Sample
from provision.compare.probe import Endpoints
from provision.compare.result import MeasuredHost, Settings
from provision.engine.fleet import Fleet, Session, each
from provision.model.errors import FactsError, UnfitError
from provision.model.reading import reading

TICKS_S = 100
"""Ticks of /proc/stat in a second (USER_HZ): 100 on all architectures that run Docker."""
SCRIPT_S = 30.0
ATTEMPTS, RETRY_S = 6, 0.5


class Runner:
    """Measures from the host `source` to the host `target`."""

    def __init__(self, session: Session, source: str, target: str, settings: Settings) -> None:
        self.session, self.source, self.target = session, source, target
        self.settings = settings
        self.shared_kernel = False
        self._serving = False

    def survey(self, fleet: Fleet) -> tuple[MeasuredHost, ...]:
        """Describe both hosts. Raises UnfitError for one that lacks a tool."""
        hosts = (self.source, self.target)
        texts = {host: self._run(host, probe.survey()) for host in hosts}
        for host, text in texts.items():
            if tools := answers.missing_tools(text):
                packages = sorted({probe.PACKAGES.get(tool, tool) for tool in tools})
                problem = f"compare needs {', '.join(tools)}, which is not installed"
                raise UnfitError(host, problem, f"install {' '.join(packages)} on it")
        # The source, the target, the source again: see answers.is_same_kernel.
        again = self._run(self.source, probe.clock_only())
        first, between, last = (
            self._clock(text, 0) for text in (*(texts[host] for host in hosts), again)
        )
        self.shared_kernel = answers.is_same_kernel(first, between, last)
        return tuple(_measured_host(fleet, host, text) for host, text in texts.items())

    def start_servers(self, paths: Iterable[Endpoints], life_s: int) -> dict[str, str]:
        """Start the servers of all paths, which end by themselves after `life_s` seconds.

        Returns candidates whose servers did not start, with the reason.
        """
        self._serving = True
        text = self._run(self.target, probe.serve(paths, life_s), SCRIPT_S * 2)
        return answers.failed_servers(text)

    def mtus(self, paths: Iterable[Endpoints]) -> dict[str, int]:
        """The MTU of the interface that each path's source sends by, by candidate."""
        text = self._run(self.source, probe.mtus(paths))
        with reading(self.source, "MTUs", text):
            return answers.mtus(text)

    def measure(self, measurement: str, path: Endpoints) -> dict[str, float]:
        """The figures of one measurement. Raises FactsError with the reason if it fails."""
        # Processor time is measured with eight streams only. Two kernels have two clocks.
        two_clocks = measurement == "tcp_8" and not self.shared_kernel
        before = self._target_clock() if two_clocks else None
        text, sample = self._attempt(measurement, path)
        if measurement != "tcp_8" or not sample.bytes:
            return sample.figures
        gigabytes = sample.bytes / 1e9
        cpu = {"cpu": _busy_s(self._clock(text, 0), self._clock(text, 1)) / gigabytes}
        if before is not None:
            receiver = _busy_s(before, self._target_clock()) / gigabytes
            cpu = {"cpu": cpu["cpu"] + receiver, "cpu_from": cpu["cpu"], "cpu_to": receiver}
        return sample.figures | cpu

    def _attempt(self, measurement: str, path: Endpoints) -> tuple[str, Sample]:
        script = probe.measure(measurement, path, self.settings)
        limit_s = self.settings.seconds + probe.GRACE_S + SCRIPT_S
        for attempt in range(1, ATTEMPTS + 1):
            text = self._run(self.source, script, limit_s)
            try:
                with reading(self.source, "figures", text, passing=(ValueError,)):
                    return text, answers.sample(measurement, text)
            except ValueError as error:
                if attempt < ATTEMPTS and answers.is_transient(str(error)):
                    time.sleep(RETRY_S)
                    continue
                raise FactsError(
                    self.source, f"{path.candidate}: {measurement}: {error}"
                ) from error
        raise AssertionError("not reached")

    def stop_servers(self) -> None:
        """End the processes that this runner started, on both hosts. Raises HostError."""
        if self._serving:
            self.stop_all()
            self._serving = False

    def stop_all(self) -> None:
        """End the processes of every comparison, also of one that was killed. Raises HostError."""
        hosts = (self.source, self.target)
        _, errors = each(self.session, hosts, lambda host: self._run(host, probe.stop()))
        for error in errors.values():
            raise error

    def _target_clock(self) -> Clock:
        return self._clock(self._run(self.target, probe.clock_only()), 0)

    def _clock(self, text: str, index: int) -> Clock:
        with reading(self.source, "clock", text):
            clocks = answers.clocks(text)
        if len(clocks) <= index:
            raise FactsError(self.source, "/proc/stat cannot be read")
        return clocks[index]

    def _run(self, host: str, script: str, timeout_s: float = SCRIPT_S) -> str:
        return self.session.transport.run(host, script, timeout_s=timeout_s).stdout


def _measured_host(fleet: Fleet, host: str, text: str) -> MeasuredHost:
    with reading(host, "description", text):
        return answers.measured_host(host, fleet.facts[host].docker, text)


def _busy_s(before: Clock, after: Clock) -> float:
    return (after.busy - before.busy) / TICKS_S

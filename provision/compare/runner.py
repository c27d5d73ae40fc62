"""Run measurements between two hosts.

Servers run on the target host. Clients run on the source host, one at a time. Both are processes of
the host; the runner changes nothing else on it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from provision.compare import answers, probe
from provision.compare.answers import Clock, Sample
from provision.compare.probe import MeasuredPath
from provision.compare.result import MeasuredHost, Settings
from provision.engine.fleet import Fleet, Session, each
from provision.model.errors import FactsError, UnfitError
from provision.model.reading import reading

TICKS_PER_S = 100
"""Ticks of /proc/stat per second (USER_HZ): 100 on all architectures that run Docker."""
SCRIPT_TIMEOUT_S = 30.0
"""Timeout of a script on a host, in addition to the time that it measures."""
ATTEMPTS, RETRY_DELAY_S = 6, 0.5
"""An iperf3 server refuses connections for a moment after each test: see answers.is_transient."""


class Runner:
    """Measures from the host `source` to the host `target`."""

    def __init__(self, session: Session, source: str, target: str, settings: Settings) -> None:
        self.session, self.source, self.target = session, source, target
        self.settings = settings
        self.shared_kernel = False  # until `survey` has compared the clocks
        self._servers_started = False

    def survey(self, fleet: Fleet) -> tuple[MeasuredHost, ...]:
        """Describe both hosts and set `shared_kernel`. Raises UnfitError if a host lacks a tool."""
        hosts = (self.source, self.target)
        texts = {host: self._run(host, probe.survey()) for host in hosts}
        for host, text in texts.items():
            if missing := answers.missing_tools(text):
                packages = sorted({probe.PACKAGES.get(tool, tool) for tool in missing})
                problem = f"compare needs tools that are not installed: {', '.join(missing)}"
                raise UnfitError(host, problem, f"install {' '.join(packages)} on it")
        # Read the clock of the source, of the target, and of the source again. If both hosts share
        # a kernel, they read the same counters, so the target's lie between the source's.
        source_later = self._run(self.source, probe.clock_only())
        clocks = (texts[self.source], texts[self.target], source_later)
        self.shared_kernel = answers.is_same_kernel(*(self._clock(text, 0) for text in clocks))
        return tuple(_measured_host(fleet, host, text) for host, text in texts.items())

    def start_servers(self, paths: Iterable[MeasuredPath], life_s: int) -> dict[str, str]:
        """Start the servers of all paths. They end by themselves after `life_s` seconds.

        Returns the reason by candidate, for candidates whose servers did not start.
        """
        self._servers_started = True
        # The script waits up to 5 s for the port of each path (compare/serve.sh).
        text = self._run(self.target, probe.serve(paths, life_s), SCRIPT_TIMEOUT_S * 2)
        return answers.failed_servers(text)

    def mtus(self, paths: Iterable[MeasuredPath]) -> dict[str, int]:
        """The MTU by candidate: that of the interface that the path's source sends on."""
        text = self._run(self.source, probe.mtus(paths))
        with reading(self.source, "MTUs", text):
            return answers.mtus(text)

    def measure(self, measurement: str, path: MeasuredPath) -> dict[str, float]:
        """Run one measurement and return its figures. Raises FactsError if it fails."""
        # Only tcp_8 gives processor time. The source's clock counts both hosts if they share a
        # kernel; otherwise read the target's clock, too.
        reads_target = measurement == "tcp_8" and not self.shared_kernel
        target_before = self._target_clock() if reads_target else None
        text, sample = self._measure_with_retries(measurement, path)
        if measurement != "tcp_8" or not sample.bytes:
            return sample.figures
        gigabytes = sample.bytes / 1e9
        # The script prints the source's clock before and after the measurement.
        source_cpu = _busy_s(self._clock(text, 0), self._clock(text, 1)) / gigabytes
        cpu = {"cpu": source_cpu}
        if target_before is not None:
            target_cpu = _busy_s(target_before, self._target_clock()) / gigabytes
            cpu = {"cpu": source_cpu + target_cpu, "cpu_from": source_cpu, "cpu_to": target_cpu}
        return sample.figures | cpu

    def _measure_with_retries(self, measurement: str, path: MeasuredPath) -> tuple[str, Sample]:
        script = probe.measure(measurement, path, self.settings)
        # The host ends a measurement after its planned seconds and GRACE_S: wait longer than that.
        timeout_s = self.settings.seconds + probe.GRACE_S + SCRIPT_TIMEOUT_S
        for attempt in range(1, ATTEMPTS + 1):
            text = self._run(self.source, script, timeout_s)
            try:
                with reading(self.source, "figures", text, passing=(ValueError,)):
                    return text, answers.sample(measurement, text)
            except ValueError as error:
                if attempt < ATTEMPTS and answers.is_transient(str(error)):
                    time.sleep(RETRY_DELAY_S)
                    continue
                raise FactsError(
                    self.source, f"{path.candidate}: {measurement}: {error}"
                ) from error
        raise AssertionError("not reached")

    def stop_servers(self) -> None:
        """End the servers, if this runner has started any. Raises HostError."""
        if self._servers_started:
            self.stop_all()
            self._servers_started = False

    def stop_all(self) -> None:
        """End all processes of comparisons on both hosts, including those of a killed run.

        Raises HostError.
        """
        hosts = (self.source, self.target)
        _, errors = each(self.session, hosts, lambda host: self._run(host, probe.stop()))
        for error in errors.values():
            raise error  # the first one; by now, both hosts have been asked

    def _target_clock(self) -> Clock:
        return self._clock(self._run(self.target, probe.clock_only()), 0)

    def _clock(self, text: str, index: int) -> Clock:
        with reading(self.source, "clock", text):
            clocks = answers.clocks(text)
        if len(clocks) <= index:
            raise FactsError(self.source, "/proc/stat cannot be read")
        return clocks[index]

    def _run(self, host: str, script: str, timeout_s: float = SCRIPT_TIMEOUT_S) -> str:
        return self.session.transport.run(host, script, timeout_s=timeout_s).stdout


def _measured_host(fleet: Fleet, host: str, text: str) -> MeasuredHost:
    with reading(host, "description", text):
        return answers.measured_host(host, fleet.facts[host].docker, text)


def _busy_s(before: Clock, after: Clock) -> float:
    """Seconds of processor time between two readings, of all processors together."""
    return (after.busy - before.busy) / TICKS_PER_S

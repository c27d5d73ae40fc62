"""One sequence on booted hosts: its steps, the oracle after each, and the end."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench import fault_changes, fault_variants
from tests.bench.fault_oracle import (
    NOTHING,
    Run,
    Situation,
    View,
    exact_differences,
    is_reference,
    judge_capture,
    judge_fault,
    judge_host,
    judge_leftovers,
    judge_run,
    judge_status,
    verdict,
)
from tests.bench.fault_sequences import Step
from tests.bench.fault_site import Site
from tests.bench.fault_variants import FILE
from tests.lab.hosts import HOSTS, Hosts

AGREE_S = 60
"""Seconds within which hosts reach their state after a step; more after a restart of Docker."""
RECOVER_S = 120
_JOURNAL = (
    "journalctl -b -n 400 --no-pager; ls -lR /var/lib/provision; cat /var/lib/provision/*/log"
)


@dataclass
class Result:
    """The violations of a sequence, and what happened in it."""

    violations: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """The steps as they were made, with what was done on each host."""
    kinds: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    """How changes ended, by host: old, new or both."""
    seconds: float = 0.0


class SequenceRun:
    """Runs the steps of a sequence; stops at the first violation."""

    def __init__(
        self,
        hosts: Hosts,
        method: str,
        steps: tuple[Step, ...],
        captures: Path,
        say: Callable[[str], None],
    ) -> None:
        self.site, self.steps, self.captures, self.say = Site(hosts, method), steps, captures, say
        self.result = Result()
        self.bases = dict.fromkeys(HOSTS, NOTHING)
        self.drifted: set[str] = set()
        self.flushed: set[str] = set()
        """Hosts that lost rules of Docker itself, which only Docker brings back."""
        self.reordered: set[str] = set()
        """Hosts whose Docker has started anew: a network made again is last in its rules."""
        self.baseline: dict[str, View] = {}
        self.views: dict[str, View] = {}
        self.earlier: dict[str, View] = {}
        self.seen: dict[tuple[str, str], str] = {}
        """A capture of each host with each variant."""
        self.docker_disturbed = False
        self.output = ""

    def run(self) -> Result:
        """Run all steps and the end. A violation saves captures."""
        begin = time.monotonic()
        try:
            self.baseline = self.views = self.site.views()
            for step in self.steps:
                if not self.result.violations:
                    self._step(step)
            if not self.result.violations:
                self._finish()
        except Exception:
            self.result.violations.append(traceback.format_exc())
        if self.result.violations:
            self._save()
        self.result.seconds = time.monotonic() - begin
        return self.result

    def _step(self, step: Step) -> None:
        begin = time.monotonic()
        self.result.kinds[step.kind] += 1
        self.docker_disturbed |= step.restarts_docker or step.fault == "docker"
        if step.change:
            self._change(step)
        else:
            boots = self.site.boot_ids()
            done = fault_changes.make_fault(self.site, step)
            self.result.steps.append(f"{step}: {done}")
            if step.kind == "reboot":
                self.site.wait_until_up({host: boots[host] for host in step.hosts})
            self._fault(step, done)
        self.result.steps[-1] += f", {time.monotonic() - begin:.0f} s"
        self.say(f"  step {len(self.result.steps)}: {self.result.steps[-1]}")

    # --- changes ---

    def _change(self, step: Step) -> None:
        target = {"destroy": NOTHING, "heal": self._applied()}.get(step.change, step.change)
        self.result.steps.append(f"{step} (variant {target or 'none'})")
        daemons = self.site.docker_pids()
        # An apply is refused where rules of Docker are gone, unless it may restart Docker.
        restart_docker = bool(self.flushed)
        self.docker_disturbed |= restart_docker
        run, self.output = fault_changes.make_change(
            self.site, step, target, restart_docker=restart_docker
        )
        self.result.steps[-1] += f": exit status {run.status}, {dict(run.told)}"
        self.site.settle()
        later = self.site.docker_pids()
        situations = self._situations(step, {h for h in HOSTS if later[h] not in ("", daemons[h])})
        self._agree(step, lambda views: self._judge_change(views, situations, run))
        for host, view in self.views.items():
            self._note(
                host, view, verdict(view, situations[host], target, self.baseline[host]), run
            )

    def _applied(self) -> str:
        """The variant that most hosts have; A if they have none."""
        counts = Counter(base for base in self.bases.values() if base)
        return max(counts, key=counts.__getitem__, default="A")

    def _situations(self, step: Step, restarted: set[str]) -> dict[str, Situation]:
        """The situation of each host; `restarted`: hosts whose Docker has started anew."""
        if step.kills_docker:
            self.drifted |= set(step.hosts)
        # The views of before have no rules of Docker where it has brought them back meanwhile.
        differing = self.drifted | self.flushed
        self.flushed -= restarted
        self.reordered |= restarted | (set(step.hosts) if step.restarts_docker else set())
        return {
            host: Situation(
                self.views[host],
                self.bases[host],
                host in differing,
                reordered=step.restarts_docker or host in self.reordered,
                exits=step.kills_docker and host in step.hosts,
            )
            for host in HOSTS
        }

    def _judge_change(
        self, views: dict[str, View], situations: dict[str, Situation], run: Run
    ) -> Iterator[str]:
        for host, view in views.items():
            yield from judge_status(host, view)
            # A host whose Docker was down at the end of a change cleans up at a later one.
            if not self.docker_disturbed:
                yield from judge_leftovers(host, view)
            yield from judge_host(host, view, situations[host], run, self.baseline[host])
            if host not in self.drifted | self.flushed:
                yield from self._judge_new(host, view, situations[host], run)
        yield from judge_run(views, situations, run, self.baseline)

    def _judge_new(self, host: str, view: View, situation: Situation, run: Run) -> Iterator[str]:
        state = verdict(view, situation, run.target, self.baseline[host])
        if state in ("new", "both") and view.plans_known:
            if run.target == NOTHING:
                yield from judge_capture(host, self.baseline[host].capture, view.capture)
            elif earlier := self.seen.get((host, run.target)):
                yield from judge_capture(host, earlier, view.capture, files=False)

    def _note(self, host: str, view: View, state: str, run: Run) -> None:
        self.result.changes[state] += 1
        if state in ("new", "both") and view.plans_known:
            self.bases[host] = run.target
            # Containers of a killed dockerd may have exited; Docker removes their rules later.
            if run.target == NOTHING or is_reference(view, run.target):
                self.drifted.discard(host)
            if host not in self.flushed and is_reference(view, run.target):
                self.seen.setdefault((host, run.target), view.capture)

    # --- faults without a change ---

    def _fault(self, step: Step, done: dict[str, str]) -> None:
        situations = self._situations(step, set(step.hosts) if step.restarts_docker else set())
        if step.kind in ("flush", "link", "stop", "drift"):
            self.drifted |= {host for host, command in done.items() if command}
        if step.kind == "flush":
            self.flushed |= set(done)

        def judge(views: dict[str, View]) -> Iterator[str]:
            for host, view in views.items():
                yield from judge_status(host, view)
                recovers = step.restarts_docker and host in step.hosts
                yield from judge_fault(host, view, situations[host], recovers=recovers)

        self._agree(step, judge)

    # --- the oracle ---

    def _agree(self, step: Step, judge: Callable[[dict[str, View]], Iterator[str]]) -> None:
        """Judge the hosts until there is no violation, or for the time that they may need."""
        until = time.monotonic() + (RECOVER_S if step.restarts_docker else AGREE_S)
        while True:
            views = self.site.views()
            violations = list(judge(views))
            if not violations or time.monotonic() > until:
                break
            time.sleep(2)
        self.earlier = self.views
        self.views = {
            # Docker may be stopped: then the last plans are still those of the host.
            host: view if view.plans_known else replace(view, plans=self.views[host].plans)
            for host, view in views.items()
        }
        self.result.violations += violations

    # --- the end ---

    def _finish(self) -> None:
        """Heal the hosts; A converges, passes verify, and destroy restores them exactly."""
        self.site.heal(restart_docker=tuple(self.flushed))
        fault_variants.write(self.site.hosts, self.site.method, "A")
        self.result.violations += self._end()

    def _end(self) -> Iterator[str]:
        report = self.site.json("apply", FILE)
        self.output = str(report)
        if "errors" in report or set(report["hosts"].values()) - {"confirmed", "unchanged"}:
            yield f"apply of A does not converge: {report.get('errors')} {report.get('hosts')}"
            return
        if changes := self.site.json("apply", FILE).get("changes", ["no report"]):
            yield f"a second apply of A makes changes: {changes}"
        yield from self._verify()
        report = self.site.json("destroy", FILE, "--yes")
        if "errors" in report:
            yield f"destroy fails: {report['errors']}"
        yield from self._restored()

    def _verify(self) -> Iterator[str]:
        until = time.monotonic() + AGREE_S
        while not (report := self.site.json("verify", FILE)).get("ok"):
            if time.monotonic() > until:
                failed = [check for check in report.get("checks", ()) if not check["ok"]]
                yield f"verify fails: {report.get('errors')} {report.get('drift')} {failed[:6]}"
                return
            time.sleep(1)

    def _restored(self) -> Iterator[str]:
        """Every host is exactly as before the sequence."""
        self.earlier, self.views = self.baseline, self.site.views()
        for host, view in self.views.items():
            before, after = self.baseline[host].capture, view.capture
            if lines := exact_differences(before, after):
                yield f"{host} is not as before the sequence: {' | '.join(lines[:12])}"
        self.site.faults.assert_nothing_left()

    def _save(self) -> None:
        """Write the steps, the last output, both captures and the journal of each host."""
        self.captures.mkdir(parents=True, exist_ok=True)
        texts = {"steps": "\n".join(self.result.steps), "output": self.output}
        texts["violations"] = "\n".join(self.result.violations)
        for host in HOSTS:
            texts[f"{host}.journal"] = self.site.inside(host, _JOURNAL)
            for name, views in (("before", self.earlier), ("after", self.views)):
                if host in views:
                    view = views[host]
                    texts[f"{host}.{name}"] = f"{view.capture}\n{replace(view, capture='')}\n"
        for name, text in texts.items():
            (self.captures / name).write_text(text)

"""Hosts that are still rolling back when the controller asks for it, as after a reboot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provision.engine import desired, ending, transaction
from provision.engine.apply import converge
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import UNCHANGED, OutcomeKind, reverted
from provision.engine.report import Report
from provision.model.errors import ExitStatus
from provision.transport.base import Output
from tests.fakes import KINDS, Hosts, Toy, inventory


@dataclass
class RebootedHosts(Hosts):
    """Hosts whose boot undoes the change, and ends that after `asks` questions."""

    asks: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def _revert(self, host: str, script: str) -> Output:
        if self.guards[host]["state"] == "txn":
            super()._revert(host, script)
            self.guards[host] |= {"state": "reverting", "reason": "boot"}
        return Output(0, self._record(host), "")

    def _status(self, host: str, script: str) -> Output:
        self.asked[host] += 1
        if self.asked[host] > self.asks:
            self.guards[host]["state"] = "reverted"
        return super()._status(host, script)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, hosts: Hosts) -> tuple[Report, list[str]]:
    """An apply that fails on h1, whose rollback the hosts' boot does; the lines of warning."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setattr(transaction, "WAVE_S", 0)
    monkeypatch.setattr(ending, "GRACE_S", -3600)
    monkeypatch.setattr(ending, "RETRY_S", 0)
    kinds = tuple(KINDS[name] for name in sorted(KINDS))
    monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
    wanted = [Toy(host, "a") for host in ("h1", "h2")]
    monkeypatch.setattr(desired, "wanted", lambda *_: {toy.ref: toy for toy in wanted})
    hosts.failing.add(("h1", "make", "a"))
    lines: list[str] = []
    session = Session(inventory("h1", "h2"), hosts, warn=lines.append)
    return converge(session, ("h1", "h2"), ApplyOptions(window_s=60)), lines


def test_a_host_that_is_still_rolling_back_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also after its deadline: it answers, and waits for Docker."""
    monkeypatch.setattr(ending, "ROLLBACK_S", 7200)
    report, lines = run(monkeypatch, tmp_path, RebootedHosts(asks=3))
    assert report.outcomes == dict.fromkeys(("h1", "h2"), reverted("boot"))
    assert all("still rolling the change back" in line for line in lines) and lines
    assert report.exit_status is ExitStatus.REVERTED


def test_a_host_that_never_ends_its_rollback_is_pending(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has answered, so it is not called unseen."""
    monkeypatch.setattr(ending, "ROLLBACK_S", 0)
    report, _ = run(monkeypatch, tmp_path, RebootedHosts(asks=1000))
    kinds = {outcome.kind for outcome in report.outcomes.values()}
    assert kinds == {OutcomeKind.PENDING} and UNCHANGED not in report.outcomes.values()
    assert report.exit_status is ExitStatus.MIXED

"""What `explain` finds for one pair of each group, in the diagnosis of a verify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.checks import traced
from provision.checks.diagnosis import DiagnosedCause, Diagnosis
from provision.checks.explain.model import Cause, Explanation, Probe
from provision.checks.failure_groups import CheckedPair, FailureGroup
from provision.checks.subjects import Check
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import UsageError
from tests.fakes import Hosts
from tests.house.test_structure import ROOT

PAIR = CheckedPair("c1", "c2", "h1", "h2", "blue")
GROUP = FailureGroup("leave h1", (PAIR,), 2, (Check("ping", "c1", "c2"),), ("h1",))
RULE = Cause(
    "h2", "firewall_rule", "-A FORWARD", "h2 drops the probe by rule 1", "a person", "iptables -D"
)
DROPPED = "drops a packet from c1 to c2 by rule 1"
SUSPECT = DiagnosedCause("h2", "a rule", "fix", "firewall_rule")
DRIFT = DiagnosedCause("h1", "a route is missing", "provision apply", "drift")


def diagnosed(
    patch: pytest.MonkeyPatch, answer: Any, *causes: DiagnosedCause, checks: str = "ping"
) -> list[str]:
    """The texts of the causes if `explain` answers so for two groups."""
    session = Session(load(ROOT / "inventories/routes.yml"), Hosts())

    def explain(*_: object) -> Explanation:
        if isinstance(answer, Exception):
            raise answer
        return Explanation("c1", "c2", Probe(), False, 1.0, (), answer, {})

    patch.setattr(traced, "explain", explain)
    groups = tuple(replace(GROUP, failures=(Check(c, "c1", "c2"),)) for c in (checks, "dns"))
    found = traced.packet_causes(session, groups)
    diagnosis = traced.with_packet_causes(Diagnosis(groups, causes), found)
    return [each.text for each in diagnosis.causes]


def test_the_cause_that_a_packet_shows_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And replaces the doctor's finding of the same kind; other causes stay behind it."""
    assert diagnosed(monkeypatch, RULE, SUSPECT, DRIFT) == [DROPPED, "a route is missing"]
    silent = DiagnosedCause("h3", "no answer", kind="silent")
    assert diagnosed(monkeypatch, RULE, silent) == ["no answer", DROPPED]
    mtu = replace(RULE, kind="mtu")
    differs = replace(SUSPECT, kind="mtu_differs")
    assert diagnosed(monkeypatch, mtu, differs, checks="mtu") == [DROPPED]


def test_one_repair_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The difference says more than the packet's cause that the same command mends."""
    lost = replace(RULE, host="h1", kind="no_route", fix=DRIFT.fix)
    assert diagnosed(monkeypatch, lost, DRIFT) == ["a route is missing"]
    assert diagnosed(monkeypatch, replace(lost, host="h2"), DRIFT) == [DROPPED, DRIFT.text]


def test_a_guess_comes_last_and_never_beside_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unrelated difference does not hide where the packet was lost; a finding replaces it."""
    guess = replace(RULE, certain=False)
    assert diagnosed(monkeypatch, guess, DRIFT) == ["a route is missing", f"perhaps {DROPPED}"]
    assert diagnosed(monkeypatch, guess, SUSPECT) == ["a rule"]
    observed = replace(guess, kind="unknown", text="the probe was last seen at h1 eth1")
    assert diagnosed(monkeypatch, observed) == ["a packet from c1 to c2 was last seen at h1 eth1"]


def test_a_packet_that_arrives_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a pair that cannot be followed, or a check that sends no packet."""
    assert diagnosed(monkeypatch, None, DRIFT) == ["a route is missing"]
    assert diagnosed(monkeypatch, UsageError("no container"), DRIFT) == ["a route is missing"]
    assert diagnosed(monkeypatch, RULE, DRIFT, checks="dns") == ["a route is missing"]


def test_the_probe_is_of_the_protocol_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pings pass; that nobody listens at the port of the probe is no cause then."""
    assert diagnosed(monkeypatch, RULE, checks="tcp") == [DROPPED]
    assert not diagnosed(monkeypatch, replace(RULE, kind="no_listener"), checks="tcp")


PORTS = """name: demo
hosts:
  h1: {address: 10.0.0.1}
  h2: {address: 10.0.0.2}
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
containers:
  c1: {host: h1, network: blue}
  c2: {host: h2, network: blue, ports: ["8080:80", "8083:83/udp"]}
"""


@pytest.mark.parametrize(
    ("failures", "followed"),
    [
        ((("port", "h1", "8083:83/udp"), ("ping", "c1", None)), ("c1", "c2", Probe())),
        ((("port", "h1", "8083:83/udp"),), ("h1", "c2", Probe("udp", 8083))),
        ((("port", "h1", "8080:80/tcp"),), ("h1", "c2", Probe("tcp", 8080))),
        ((("udp", "c1", None), ("port", "h1", "8080:80/tcp")), ("c1", "c2", Probe("udp", 9))),
        ((("port", "h1", "9:9/tcp"),), None),
    ],
)
def test_the_packet_is_one_that_failed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    failures: tuple[tuple[str, str, str | None], ...],
    followed: tuple[str, str, Probe] | None,
) -> None:
    """A pair that failed another check, or a port that answers, would explain nothing."""
    path = tmp_path / "demo.yml"
    path.write_text(PORTS)
    asked = []

    def explain(_: object, __: object, source: str, target: str, probe: Probe, *___: object) -> Any:
        asked.append((source, target, probe))
        return Explanation(source, target, probe, False, 1.0, (), None, {})

    monkeypatch.setattr(traced, "explain", explain)
    checks = tuple(Check(check, source, "c2", port) for check, source, port in failures)
    session = Session(load(path), Hosts())
    assert not list(traced.packet_causes(session, [replace(GROUP, failures=checks)]))
    assert asked == ([followed] if followed else [])

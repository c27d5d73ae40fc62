"""What `explain` finds for one pair of each group, in the diagnosis of a verify."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.checks import traced
from provision.checks.diagnosis import CheckedPair, DiagnosedCause, Diagnosis, FailureGroup
from provision.checks.explain.model import Cause, Explanation, Probe
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import UsageError
from tests.fakes import Hosts
from tests.house.test_structure import ROOT

GROUP = FailureGroup(
    "leave h1", (CheckedPair("c1", "c2", "h1", "h2", "blue"),), 2, ("ping",), ("h1",)
)
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
    groups = (replace(GROUP, checks=(checks,)), replace(GROUP, checks=("dns",)))
    found = traced.followed(session, groups)
    return [each.text for each in traced.with_traces(Diagnosis(groups, causes), found).causes]


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
    assert traced._probe(load(ROOT / "inventories/routes.yml"), replace(GROUP, checks=("udp",)))
    assert diagnosed(monkeypatch, RULE, checks="tcp") == [DROPPED]
    assert not diagnosed(monkeypatch, replace(RULE, kind="no_listener"), checks="tcp")

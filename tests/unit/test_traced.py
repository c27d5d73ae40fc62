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
RULE = Cause("h2", "firewall_rule", "-A FORWARD -j DROP", "it drops", "a person", "iptables -D")
SUSPECT = DiagnosedCause("h2", "a rule", "fix", "firewall_rule")
DRIFT = DiagnosedCause("h1", "a route is missing", "apply", "drift")


def diagnosed(patch: pytest.MonkeyPatch, answer: Any, *causes: DiagnosedCause) -> list[str]:
    """The texts of the causes if `explain` answers so."""
    session = Session(load(ROOT / "inventories/routes.yml"), Hosts())

    def explain(*_: object) -> Explanation:
        if isinstance(answer, Exception):
            raise answer
        return Explanation("c1", "c2", Probe(), False, 1.0, (), answer, {})

    patch.setattr(traced, "explain", explain)
    groups = (GROUP, replace(GROUP, checks=("mtu",)))
    return [each.text for each in traced.with_traces(session, Diagnosis(groups, causes)).causes]


def test_what_a_packet_shows_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And replaces the doctor's finding of the same kind; other causes stay behind it."""
    assert diagnosed(monkeypatch, RULE, SUSPECT, DRIFT) == ["it drops", "a route is missing"]
    silent = DiagnosedCause("h3", "no answer", kind="silent")
    assert diagnosed(monkeypatch, RULE, silent)[0] == "no answer"


def test_a_guess_is_told_only_where_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess never stands before a fact."""
    guess = replace(RULE, certain=False)
    assert diagnosed(monkeypatch, guess, DRIFT) == ["a route is missing"]
    assert diagnosed(monkeypatch, guess) == ["it drops"]
    assert diagnosed(monkeypatch, None, DRIFT) == ["a route is missing"]
    assert diagnosed(monkeypatch, UsageError("no container"), DRIFT) == ["a route is missing"]

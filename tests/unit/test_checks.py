"""The checks of verify: their subjects, and their run by pytest on evidence without hosts."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest

from provision.checks import gather, test_lan, test_network
from provision.checks.gather import Drift, Evidence
from provision.checks.probe import Answer, Endpoint, Listener
from provision.checks.run import Verification, run_checks
from provision.checks.subjects import KINDS
from provision.engine.fleet import Session
from provision.inventory.load import load
from provision.model.errors import ExitStatus, UsageError
from tests.fakes import Hosts
from tests.house.test_structure import ROOT

PAIR_CHECKS = ("ping", "tcp", "mtu", "udp")


def evidence(*, lost: bool = False) -> Evidence:
    """Two containers of routes.yml on two hosts; each pair answers, or with `lost` none does."""
    inventory = load(ROOT / "inventories" / "routes.yml")
    containers = tuple(inventory.containers.values())[:2]
    addresses = [next(iter(inventory.networks["blue"].subnets[c.host].hosts())) for c in containers]
    endpoints = {
        c.name: Endpoint(c.name, c.host, c.network, 100, address, 1500)
        for c, address in zip(containers, addresses, strict=True)
    }
    answers = {
        (check, source.name, target.name): Answer(
            int(lost), f"same {endpoints[source.name].address}" if not lost else "0 of 3 packets"
        )
        for check in PAIR_CHECKS
        for source in containers
        for target in containers
    }
    hosts = tuple(c.host for c in containers)
    return Evidence(
        inventory,
        hosts,
        containers,
        {host: Drift((), ()) for host in hosts},
        {},
        endpoints,
        {c.name: Listener(40000, 200, ()) for c in containers},
        {},
        {},
        answers,
        {},
        {},
        {},
        {},
    )


def verify(patch: pytest.MonkeyPatch, evidence: Evidence, expression: str | None) -> Verification:
    """The results of the checks on this evidence."""
    patch.setattr(gather, "evidence", lambda _session, _hosts: evidence)
    session = Session(evidence.inventory, Hosts())
    return run_checks(session, evidence.hosts, junit=None, expression=expression)


@pytest.mark.parametrize("module", [test_network, test_lan])
def test_each_check_has_subjects_of_a_known_kind(module: Any) -> None:
    """An argument of another name would be a fixture that nobody defines."""
    checks = [check for name, check in vars(module).items() if name.startswith("test_")]
    for check in checks:
        first, kind = inspect.signature(check).parameters
        assert first == "evidence" and kind in KINDS, check


def test_pairs_that_answer_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of each ordered pair is judged once, by the names of its containers."""
    result = verify(monkeypatch, evidence(), "ping or tcp or udp or source or drift")
    assert result.ok and result.exit_status == ExitStatus.OK
    checks = {(check.check, check.source, check.target) for check in result.checks}
    assert len(checks) == len(result.checks) == 2 * 4 + 2
    assert ("source", "c1", "c2") in checks and ("drift", "h1", "h1") in checks


def test_the_message_of_a_failed_check_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expression that pytest appends to the message is left out."""
    result = verify(monkeypatch, evidence(lost=True), "ping")
    assert [check.detail for check in result.checks] == ["0 of 3 packets"] * 2
    assert not result.ok and result.exit_status == ExitStatus.VERIFY


def test_a_sniffer_that_did_not_run_skips_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skipped check is neither passed nor failed."""
    result = verify(monkeypatch, evidence(), "wire")
    assert [check.skipped for check in result.checks] == [
        "no frame counts from h1: the host did not answer",
        "no frame counts from h2: the host did not answer",
    ]
    assert result.ok


@pytest.mark.parametrize(
    ("expression", "message"), [("nothing", "matches no check"), ("a b", "cannot read")]
)
def test_an_expression_without_checks_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, expression: str, message: str
) -> None:
    """A misspelt check must not pass as a verify of nothing."""
    with pytest.raises(UsageError, match=message):
        verify(monkeypatch, evidence(), expression)


def test_the_run_restores_the_variable_that_disables_plugins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable is unset again if it was not set before."""
    for value in (None, "0"):
        if value is None:
            monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
        else:
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", value)
        verify(monkeypatch, evidence(), "drift")
        assert os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") == value

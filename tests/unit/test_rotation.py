"""`rotate` stops at the first host that does not end well, and reports the hosts before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.engine import apply as engine
from provision.engine import joint_changes, rotation, transaction
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import CONFIRMED, UNCHANGED, Outcome, reverted, unknown
from provision.engine.plan import Change, Conflict, plan
from provision.engine.report import ChangeResult, Report, result_lines
from provision.inventory.load import load
from provision.model.errors import (
    ConflictError,
    ConnectError,
    ExitStatus,
    HostError,
    LockedError,
    StepError,
)
from provision.model.inventory import Inventory
from provision.resources.kinds.wireguard_key import WireguardKey
from provision.transport.base import Output
from tests.fakes import Toy
from tests.house.test_structure import ROOT
from tests.unit.test_engine import Fleet

INVENTORY = load(ROOT / "inventories" / "wireguard.yml")
HOSTS = ("h1", "h2", "h3")
KEPT = dict.fromkeys(HOSTS, CONFIRMED)
FAILED = dict.fromkeys(HOSTS, reverted("failed"))
Round = Report | Exception | type[KeyboardInterrupt]


def change(host: str, ended: dict[str, Outcome], *errors: HostError) -> Report:
    """The report of a change of the key of a host."""
    key = WireguardKey(host, "private", "safe")
    (made,) = plan({}, {key.ref: key}).changes
    return Report(HOSTS, (ChangeResult(made),), (), errors, ended)


class Scripts:
    """A transport that notes the scripts of `rotate` itself; `cut`: those that do not arrive."""

    def __init__(self, cut: str = "") -> None:
        self.cut = cut
        self.scripts: list[tuple[str, str]] = []

    def run(self, host: str, script: str, **_options: Any) -> Output:
        """Note a script."""
        self.scripts.append((host, script))
        if self.cut and script.startswith(self.cut):
            raise ConnectError(host, "no route to host")
        return Output(0, "", "")

    def withdrawn(self) -> list[str]:
        """The hosts whose request was deleted."""
        return [host for host, script in self.scripts if script.startswith("rm -f -- ")]


def rotate(
    monkeypatch: pytest.MonkeyPatch, *rounds: Round, transport: Scripts | None = None
) -> tuple[Report, Scripts, list[str]]:
    """Rotate the keys of all hosts; `rounds` are the ends of the engine's changes."""
    ends = iter(rounds)

    def converge(*_arguments: Any) -> Report:
        end = next(ends)
        if isinstance(end, Report):
            return end
        raise end

    monkeypatch.setattr(engine, "preview", lambda *_, **_options: Report(HOSTS, (), (), ()))
    monkeypatch.setattr(engine, "converge", converge)
    transport, lines = transport or Scripts(), list[str]()
    session = Session(INVENTORY, transport, warn=lines.append)  # type: ignore[arg-type]
    report = rotation.rotate(session, "private", HOSTS, ApplyOptions())
    assert not list(ends), "a change was not begun"
    return report, transport, lines


def test_every_host_is_changed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a fault, no request is withdrawn and nothing is said."""
    report, transport, lines = rotate(monkeypatch, *(change(host, KEPT) for host in HOSTS))
    assert report.exit_status is ExitStatus.OK and report.ended == KEPT
    assert [result.change.ref.host for result in report.results] == list(HOSTS)
    assert not transport.withdrawn() and not lines


@pytest.mark.parametrize("silent", HOSTS)
def test_a_mixed_confirmation_ends_it(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    """Such a report has no error: one host's outcome is unknown."""
    mixed = KEPT | {silent: unknown(1.0)}
    report, transport, lines = rotate(monkeypatch, change("h1", mixed))
    assert report.exit_status is ExitStatus.MIXED and report.ended == mixed
    assert transport.withdrawn() == (["h1"] if silent == "h1" else []) and not lines


def test_a_rollback_leaves_the_hosts_before_it_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """h1 took part in the change of h2, too, and that part of it was rolled back."""
    failure = StepError("h3", "no space left")
    report, transport, lines = rotate(
        monkeypatch, change("h1", KEPT), change("h2", FAILED, failure)
    )
    assert report.exit_status is ExitStatus.MIXED
    assert report.ended == FAILED | {"h1": CONFIRMED}
    assert transport.withdrawn() == ["h2"]
    assert lines == ["Stopping at h2: h1 keep their new keys"]


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (LockedError("h3", "another change holds it"), ExitStatus.LOCKED, "another change"),
        (ConflictError("h1: wg-x exists", "remove it"), ExitStatus.CONFLICT, "h1: wg-x exists"),
        (ConnectError("h2", "refused"), ExitStatus.HOST, "refused"),
        (KeyboardInterrupt, ExitStatus.INTERRUPTED, ""),
    ],
)
def test_an_error_does_not_lose_the_report_of_the_hosts_before_it(
    monkeypatch: pytest.MonkeyPatch, end: Round, status: ExitStatus, message: str
) -> None:
    """Its text has the key that changed, and each host as it is."""
    report, transport, _ = rotate(monkeypatch, change("h1", KEPT), end)
    assert report.exit_status is status
    assert [result.change.ref.host for result in report.results] == ["h1"]
    assert [error.message for error in report.errors if message in error.message] == [
        error.message for error in report.errors
    ]
    assert len(report.errors) == bool(message)
    assert "h1  confirmed" in list(result_lines(report))
    assert transport.withdrawn() == ["h2"]


def test_a_host_that_is_locked_is_not_called_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has answered."""
    report, _, _ = rotate(monkeypatch, LockedError("h1", "another change holds it"))
    assert report.outcomes == dict.fromkeys(HOSTS, UNCHANGED)
    assert report.exit_status is ExitStatus.LOCKED


def test_a_key_that_did_not_change_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has deleted the request, so that there was nothing to change."""
    report, _, _ = rotate(monkeypatch, Report(HOSTS, (), (), ()))
    assert report.exit_status is ExitStatus.HOST
    assert [str(error) for error in report.errors] == ["h1: its key was not replaced"]


def test_a_request_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host does not answer, so the next apply finds the request."""
    failure = StepError("h1", "no space left")
    _, _, lines = rotate(monkeypatch, change("h1", FAILED, failure), transport=Scripts("rm -f"))
    assert len(lines) == 1 and "the next apply may change the key of h1" in lines[0]


@pytest.mark.parametrize(
    ("groups", "missing"),
    [
        ([HOSTS], ""),
        ([("h1",)], "h2, h3"),
        ([("h1",), ("h2", "h3")], "h2, h3"),
        ([("h1", "h3"), ("h2",)], "h2"),
    ],
)
def test_a_key_changes_together_with_its_peers(groups: list[tuple[str, ...]], missing: str) -> None:
    """Otherwise the host would use a key that no peer knows."""
    wanted = {key.ref: key for key in (WireguardKey(host, "private", "safe") for host in HOSTS)}
    asked = WireguardKey("h1", "private", "safe", renewal="asked for")
    changes = plan({**wanted, asked.ref: asked}, wanted).changes
    assert len(changes) == 1
    conflicts = tuple(joint_changes.conflicts(INVENTORY, changes, groups))
    texts = [conflict.message for conflict in conflicts]
    expected = f"{missing} would not learn its new key"
    assert texts == ([expected] if missing else [])
    assert all("without --limit" in conflict.hint for conflict in conflicts)


@pytest.mark.parametrize("removed", [False, True])
def test_other_changes_of_a_key_need_no_peer(removed: bool) -> None:
    """Its permissions, or its removal with the network."""
    wanted = WireguardKey("h1", "private", "safe")
    before = replace(wanted, renewal="asked for") if removed else replace(wanted, protected=False)
    changes = plan({before.ref: before}, {} if removed else {wanted.ref: wanted}).changes
    assert len(changes) == 1
    assert not tuple(joint_changes.conflicts(INVENTORY, changes, [("h1",)]))


@pytest.mark.parametrize(
    ("hosts", "options", "refused"),
    [
        (HOSTS, {}, False),
        (("h1",), {}, True),
        (HOSTS, {"canary": "h1"}, True),
        (HOSTS, {"group_size": 2, "all_or_none": False}, True),
        (HOSTS, {"all_or_none": False}, True),
    ],
)
def test_apply_refuses_a_key_without_its_peers(
    fleet: Fleet, hosts: tuple[str, ...], options: dict[str, Any], refused: bool
) -> None:
    """Before any host is armed; `plan` tells it for the hosts that it is asked for."""
    if refused:
        with pytest.raises(ConflictError, match="not all hosts change together"):
            fleet.apply(hosts, **options)
        assert fleet.executions() == ["snapshot"]
    else:
        assert fleet.apply(hosts, **options).exit_status is ExitStatus.OK
    assert bool(engine.preview(fleet.session, hosts).conflicts) == (len(hosts) < len(HOSTS))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    """Three hosts that shall get one toy each, which takes the place of a key."""

    def conflicts(
        _inventory: Inventory, changes: Iterable[Change], groups: Iterable[tuple[str, ...]]
    ) -> Iterator[Conflict]:
        if any(set(group) != set(HOSTS) for group in groups):
            yield from (Conflict(each.ref, "not all hosts change together") for each in changes)

    monkeypatch.setattr(joint_changes, "conflicts", conflicts)
    monkeypatch.setattr(transaction, "WAVE_S", 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Fleet(monkeypatch, [Toy(host, "a") for host in HOSTS])

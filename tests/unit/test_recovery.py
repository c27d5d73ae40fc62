"""`confirm`, `status` and `recover` on hosts in memory, from this controller and from another."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from provision.engine import desired, ending, recovery, transaction
from provision.engine.apply import converge
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import CONFIRMED, UNCHANGED, UNREACHABLE, OutcomeKind, reverted
from provision.model.errors import ConnectError, UsageError
from provision.resources.base import Resource
from tests.fakes import KINDS, Hosts, Toy, inventory

HOSTS = ("h1", "h2", "h3")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    """Three hosts on which a change is pending."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(transaction, "STEP_S", 0)
    monkeypatch.setattr(ending, "GRACE_S", 0)
    monkeypatch.setattr(ending, "RETRY_S", 0)
    kinds = tuple(KINDS[name] for name in sorted(KINDS))
    monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
    wanted: Iterable[Resource] = [Toy(host, "a") for host in HOSTS]
    monkeypatch.setattr(desired, "wanted", lambda *_: {toy.ref: toy for toy in wanted})
    session = Session(inventory(*HOSTS), Hosts())
    converge(session, HOSTS, ApplyOptions(manual=True, window_s=3600))
    return session


def hosts(session: Session) -> Hosts:
    assert isinstance(session.transport, Hosts)
    return session.transport


def confirm(session: Session, **options: Any) -> recovery.FleetStatus:
    return recovery.confirm(session, HOSTS, **({"txn": None, "force": False} | options))


def txn_id(session: Session) -> str:
    return hosts(session).guards["h1"]["id"]


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From here on the controller is another one, without the journal of the change."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))


def test_a_pending_change_is_confirmed(session: Session) -> None:
    """On all hosts; a second time there is none."""
    status = recovery.fleet_status(session, HOSTS)
    assert {outcome.kind for outcome in status.outcomes.values()} == {OutcomeKind.PENDING}
    assert confirm(session).outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    with pytest.raises(UsageError, match=r"no single change .* \(pending: none\)"):
        confirm(session)


def test_a_host_that_does_not_answer_keeps_the_others_from_confirming(session: Session) -> None:
    """Otherwise some hosts would keep the change, and others would roll it back."""
    hosts(session).lost["h2"] = ConnectError("h2", "unreachable")
    with pytest.raises(ConnectError):
        confirm(session)
    assert {guard["state"] for guard in hosts(session).guards.values()} == {"txn"}


def test_two_pending_changes_have_to_be_named(session: Session) -> None:
    """The message lists both."""
    hosts(session).guards["h3"]["id"] = "0a"
    with pytest.raises(UsageError, match=rf"pending: 0a, {txn_id(session)}") as caught:
        confirm(session)
    assert "--txn" in caught.value.hint
    assert confirm(session, txn=txn_id(session)).outcomes["h1"] == CONFIRMED
    assert hosts(session).guards["h3"]["state"] == "txn"


def test_a_change_that_one_host_has_rolled_back_is_not_confirmed(session: Session) -> None:
    """`recover` then rolls it back on the others."""
    hosts(session).guards["h2"] |= {"state": "reverted", "result": "reverted", "reason": "deadline"}
    with pytest.raises(UsageError, match="h2 has rolled change"):
        confirm(session)
    status = recovery.recover(session, HOSTS)
    assert status.outcomes["h1"] == status.outcomes["h3"] == reverted("operator")
    assert status.outcomes["h2"] == reverted("deadline")
    assert {ref.host for ref in hosts(session).toys} == {"h2"}


def test_another_controller_confirms_by_force_only(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It does not have the token."""
    elsewhere(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="token") as caught:
        confirm(session)
    assert f"--txn {txn_id(session)} --force" in caught.value.hint
    assert confirm(session, force=True).outcomes == dict.fromkeys(HOSTS, CONFIRMED)


@pytest.mark.parametrize("here", [True, False], ids=["this controller", "another"])
def test_recover_ends_a_change_as_its_first_host_has(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: bool
) -> None:
    """Where one host has kept it, all do."""
    if not here:
        elsewhere(monkeypatch, tmp_path)
    hosts(session).guards["h1"]["state"] = "confirmed"
    assert recovery.recover(session, HOSTS).outcomes == dict.fromkeys(HOSTS, CONFIRMED)


def test_recover_leaves_changes_that_are_not_named(session: Session) -> None:
    """Such as those of another run that is still alive."""
    status = recovery.recover(session, HOSTS, only={"0a"})
    assert {outcome.kind for outcome in status.outcomes.values()} == {OutcomeKind.PENDING}


def test_a_silent_host_was_last_seen_in_its_change(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the journal of this controller; another one only finds it unreachable."""
    hosts(session).lost["h2"] = ConnectError("h2", "unreachable")
    outcome = recovery.fleet_status(session, HOSTS).outcomes["h2"]
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.last_seen is not None and time.time() - outcome.last_seen < 60
    elsewhere(monkeypatch, tmp_path)
    assert recovery.fleet_status(session, HOSTS).outcomes["h2"] == UNREACHABLE


def test_hosts_that_were_never_changed_are_unchanged(session: Session) -> None:
    """They have no record."""
    hosts(session).guards.clear()
    assert recovery.fleet_status(session, HOSTS).outcomes == dict.fromkeys(HOSTS, UNCHANGED)

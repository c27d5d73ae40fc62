"""`confirm`, `status` and `recover` on hosts in memory, from this controller and from another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from provision.cli.transaction import _exit_status
from provision.engine import desired, ending, recovery, transaction
from provision.engine.apply import converge
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import CONFIRMED, UNCHANGED, UNREACHABLE, OutcomeKind, reverted
from provision.engine.status import describe_all
from provision.model.errors import (
    ConnectError,
    ExitStatus,
    FactsError,
    HostError,
    NoAnswerError,
    SudoError,
    UsageError,
)
from provision.resources.base import Resource
from provision.transport.base import Output
from tests.fakes import KINDS, Hosts, Toy, inventory

HOSTS = ("h1", "h2", "h3")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    """A session of three hosts with a pending change."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(transaction, "WAVE_S", 0)
    monkeypatch.setattr(ending, "GRACE_S", 0)
    monkeypatch.setattr(ending, "RETRY_S", 0)
    kinds = tuple(KINDS[name] for name in sorted(KINDS))
    monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
    toys: Iterable[Resource] = [Toy(host, "a") for host in HOSTS]
    monkeypatch.setattr(desired, "wanted", lambda *_: {toy.ref: toy for toy in toys})
    session = Session(inventory(*HOSTS), Hosts())
    converge(session, HOSTS, ApplyOptions(manual=True, window_s=3600))
    return session


def hosts(session: Session) -> Hosts:
    """The fake hosts of a session."""
    assert isinstance(session.transport, Hosts)
    return session.transport


def confirm(session: Session, **options: Any) -> recovery.FleetStatus:
    """Confirm as the command does without further options."""
    return recovery.confirm(session, HOSTS, **({"txn": None, "force": False} | options))


def txn_id(session: Session) -> str:
    """The id of the pending change."""
    return hosts(session).guards["h1"]["id"]


def use_another_controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the journal of the change from the controller."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))


def test_a_pending_change_is_confirmed(session: Session) -> None:
    """On all hosts; afterwards, no change is left to confirm."""
    status = recovery.fleet_status(session, HOSTS)
    assert {outcome.kind for outcome in status.outcomes.values()} == {OutcomeKind.PENDING}
    assert confirm(session).outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    with pytest.raises(UsageError, match=r"no single change .* \(pending: none\)"):
        confirm(session)


def test_no_host_confirms_while_one_is_unreachable(session: Session) -> None:
    """Otherwise some hosts would keep the change, and others would roll it back."""
    hosts(session).lost["h2"] = ConnectError("h2", "unreachable")
    with pytest.raises(ConnectError):
        confirm(session)
    assert {guard["state"] for guard in hosts(session).guards.values()} == {"txn"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "its change is still pending: /var/lib/provision cannot be written"),
        ({"state": "reverted", "result": "reverted"}, "it has rolled the change back"),
    ],
    ids=["its disk is full", "its deadline comes first"],
)
def test_a_host_that_does_not_keep_the_change_is_an_error(
    session: Session, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    """Exit status 0 would say that all hosts keep it."""
    monkeypatch.setattr(Hosts, "_confirm", refusing(Hosts._confirm, change))
    status = confirm(session)
    assert status.outcomes["h1"] == status.outcomes["h3"] == CONFIRMED
    assert {host: error.message for host, error in status.refusals.items()} == {"h2": message}
    assert _exit_status(status) == ExitStatus.MIXED
    assert _exit_status(recovery.fleet_status(session, HOSTS)) == ExitStatus.OK


def refusing(kept: Callable[..., Output], change: dict[str, str]) -> Callable[..., Output]:
    """A guard by which all hosts but h2 keep a change."""

    def _confirm(self: Hosts, host: str, script: str) -> Output:
        if host != "h2":
            return kept(self, host, script)
        self.guards[host] |= {"reason": "deadline", **change}
        return Output(9, self._record(host), "/var/lib/provision cannot be written\n")

    return _confirm


def test_of_two_pending_changes_the_user_must_name_one(session: Session) -> None:
    """The error lists both. The id "0" sorts before every random one."""
    hosts(session).guards["h3"]["id"] = "0"
    with pytest.raises(UsageError, match=rf"pending: 0, {txn_id(session)}") as caught:
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
    """Only the first one has the token. The hint has the options to use."""
    use_another_controller(monkeypatch, tmp_path)
    with pytest.raises(UsageError, match="token") as caught:
        confirm(session)
    assert f"--txn {txn_id(session)} --force" in caught.value.hint
    assert confirm(session, force=True).outcomes == dict.fromkeys(HOSTS, CONFIRMED)


@pytest.mark.parametrize("same_controller", [True, False], ids=["this controller", "another"])
def test_recover_confirms_a_change_that_one_host_has_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, same_controller: bool
) -> None:
    """All hosts keep it then, whichever controller recovers."""
    if not same_controller:
        use_another_controller(monkeypatch, tmp_path)
    hosts(session).guards["h1"]["state"] = "confirmed"
    assert recovery.recover(session, HOSTS).outcomes == dict.fromkeys(HOSTS, CONFIRMED)


def test_recover_ends_only_the_given_changes(session: Session) -> None:
    """Changes of another run, which may still be alive, stay pending."""
    status = recovery.recover(session, HOSTS, only={"0a"})
    assert {outcome.kind for outcome in status.outcomes.values()} == {OutcomeKind.PENDING}


def test_an_unreachable_host_was_last_seen_in_its_change(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """This controller's journal has the time; another controller only reports unreachable."""
    hosts(session).lost["h2"] = ConnectError("h2", "unreachable")
    outcome = recovery.fleet_status(session, HOSTS).outcomes["h2"]
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.last_seen is not None and time.time() - outcome.last_seen < 60
    use_another_controller(monkeypatch, tmp_path)
    assert recovery.fleet_status(session, HOSTS).outcomes["h2"] == UNREACHABLE


@pytest.mark.parametrize("error", [NoAnswerError, SudoError, FactsError])
def test_a_host_that_answers_without_its_state_is_unknown(
    session: Session, error: type[HostError]
) -> None:
    """It may hold a pending change; its words are in the error."""
    hosts(session).lost["h2"] = error("h2", "This account is currently not available.")
    status = recovery.fleet_status(session, HOSTS)
    assert describe_all(status.outcomes)["h2"] == "unknown (no valid answer)"
    assert status.errors["h2"].message == "This account is currently not available."
    with pytest.raises(ConnectError, match="not available"):
        confirm(session)


def test_a_pending_change_without_a_readable_record_is_an_error(session: Session) -> None:
    """The host is locked by it, so it is not `unchanged`."""
    hosts(session).guards["h2"]["id"] = ""
    status = recovery.fleet_status(session, HOSTS)
    assert isinstance(status.errors["h2"], FactsError)
    assert status.outcomes["h2"].kind is OutcomeKind.UNKNOWN


def test_hosts_that_were_never_changed_are_unchanged(session: Session) -> None:
    """Such hosts have no record of a change."""
    hosts(session).guards.clear()
    assert recovery.fleet_status(session, HOSTS).outcomes == dict.fromkeys(HOSTS, UNCHANGED)

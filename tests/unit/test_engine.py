"""The engine's own logic, on hosts in memory: order, failures, strategies, executions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from provision.engine import apply as engine
from provision.engine import arming, desired, ending, preflight, report, rounds, transaction
from provision.engine import fleet as fleet_room
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import (
    CONFIRMED,
    UNCHANGED,
    UNREACHABLE,
    Outcome,
    OutcomeKind,
    reverted,
    unknown,
)
from provision.engine.status import describe
from provision.model.errors import ConflictError, ConnectError, ExitStatus, LockedError
from provision.resources.base import Ref, Resource
from tests.fakes import HOST, KINDS, Hosts, Toy, inventory

HOSTS = ("h1", "h2", "h3")


class Fleet:
    """An inventory of three hosts, what is wanted on them, and how they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wanted: Iterable[Resource]) -> None:
        self.hosts = Hosts()
        everything = {resource.ref: resource for resource in wanted}
        kinds = tuple(KINDS[name] for name in sorted(KINDS))
        monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
        monkeypatch.setattr(
            desired,
            "wanted",
            lambda _inventory, facts: {r: v for r, v in everything.items() if r.host in facts},
        )
        self.session = Session(inventory(*HOSTS), self.hosts)

    def apply(self, hosts: tuple[str, ...] = HOSTS, **options: Any) -> report.Report:
        return engine.converge(self.session, hosts, ApplyOptions(**{"window_s": 0} | options))

    def executions(self, host: str = "h1") -> list[str]:
        return [what for name, what in self.hosts.log if name == host and " " not in what]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No waiting for hosts in memory, and no notes in anybody's home."""
    monkeypatch.setattr(transaction, "STEP_S", 0)
    monkeypatch.setattr(ending, "GRACE_S", 0)
    monkeypatch.setattr(ending, "RETRY_S", 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch, [Toy(host, "a") for host in HOSTS])


def assert_lost(outcome: Outcome) -> None:
    """The outcome is unknown, and names a moment of this test."""
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.last_seen is not None
    assert 0 <= time.time() - outcome.last_seen < 60


def test_five_executions_and_then_one(fleet: Fleet) -> None:
    """Look, arm, act, look anew, confirm; and only a look where nothing differs."""
    assert fleet.apply().outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    assert fleet.executions() == ["look", "arm", "act", "rearm", "confirm"]
    done = fleet.apply()
    assert (done.outcomes, done.exit_status) == (dict.fromkeys(HOSTS, UNCHANGED), 0)
    assert fleet.executions()[5:] == ["look"]


def test_every_host_is_held_before_any_is_changed(fleet: Fleet) -> None:
    """The first one alone: two runs at once meet there."""
    fleet.apply()
    verbs = [what for _, what in fleet.hosts.log if what in ("arm", "act")]
    assert verbs == ["arm"] * 3 + ["act"] * 3
    assert fleet.hosts.log[3] == ("h1", "arm")


def test_an_unreachable_host_stops_all(fleet: Fleet) -> None:
    """Nothing is changed anywhere, status 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    done = fleet.apply()
    assert done.outcomes == {"h1": UNCHANGED, "h2": UNREACHABLE, "h3": UNCHANGED}
    assert done.exit_status == 4
    assert not fleet.hosts.toys


def test_per_host_does_the_others(fleet: Fleet) -> None:
    """They are changed, status 6; with nothing to change it is 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    done = fleet.apply(all_or_none=False)
    assert done.outcomes == {"h1": CONFIRMED, "h2": UNREACHABLE, "h3": CONFIRMED}
    assert done.exit_status == 6
    assert fleet.apply(all_or_none=False).exit_status == 4


def test_a_host_outside_the_limit_is_looked_at_and_left_alone(fleet: Fleet) -> None:
    """Its trouble is not this run's."""
    fleet.hosts.lost["h3"] = ConnectError("h3", "unreachable")
    done = fleet.apply(("h1",))
    assert (done.outcomes, done.exit_status) == ({"h1": CONFIRMED}, 0)
    assert {ref.host for ref in fleet.hosts.toys} == {"h1"}


def test_a_failed_step_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows on that host is not run; all hosts are as before: status 5."""
    fleet = Fleet(monkeypatch, [Toy(host, name) for host in HOSTS for name in "abc"])
    fleet.hosts.broken.add(("h2", "make", "b"))
    done = fleet.apply()
    mine = {one.change.ref.name: one.status for one in done.results if one.change.ref.host == "h2"}
    assert mine == {"a": "done", "b": "failed", "c": "not run"}
    assert done.outcomes == dict.fromkeys(HOSTS, reverted("failed"))
    assert done.exit_status == 5
    assert "toy: cannot make b" in str(done.errors[0])
    assert not fleet.hosts.toys


def test_per_host_keeps_what_went_well(fleet: Fleet) -> None:
    """Only the host that failed is undone: status 6."""
    fleet.hosts.broken.add(("h2", "make", "a"))
    done = fleet.apply(all_or_none=False)
    assert done.outcomes == {"h1": CONFIRMED, "h2": reverted("failed"), "h3": CONFIRMED}
    assert done.exit_status == 6
    assert {ref.host for ref in fleet.hosts.toys} == {"h1", "h3"}


def test_a_canary_that_fails_leaves_the_others_untouched(fleet: Fleet) -> None:
    """They are not even held."""
    fleet.hosts.broken.add(("h2", "make", "a"))
    done = fleet.apply(canary="h2")
    assert done.outcomes == {"h1": UNCHANGED, "h2": reverted("failed"), "h3": UNCHANGED}
    assert done.exit_status == 5
    assert "arm" not in fleet.executions("h1")


def test_a_canary_goes_first(fleet: Fleet) -> None:
    """The rest together, once it is confirmed."""
    assert fleet.apply(canary="h3").outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    order = [host for host, what in fleet.hosts.log if what == "confirm"]
    assert order[0] == "h3" and sorted(order) == list(HOSTS)


def test_the_last_word_can_be_a_persons(fleet: Fleet) -> None:
    """Made and looked at, and left to be confirmed."""
    done = fleet.apply(manual=True, window_s=3600)
    assert {outcome.kind for outcome in done.outcomes.values()} == {OutcomeKind.PENDING}
    remaining = [(outcome.until or 0) - time.time() for outcome in done.outcomes.values()]
    assert all(3590 < seconds <= 3600 for seconds in remaining)
    assert (done.exit_status, len(fleet.hosts.toys)) == (0, 3)
    assert {held["state"] for held in fleet.hosts.guards.values()} == {"txn"}


def test_success_is_a_second_look(fleet: Fleet) -> None:
    """A command that succeeds and changes nothing is a failure, after three rounds."""
    fleet.hosts.deaf.add("h1")
    done = fleet.apply()
    assert done.outcomes == dict.fromkeys(HOSTS, reverted("failed"))
    assert done.exit_status == 5
    executions = ["act", "rearm"] * rounds.ROUNDS
    assert fleet.executions() == ["look", "arm", *executions, "revert"]


def test_a_host_lost_while_it_is_changed_is_unknown(fleet: Fleet) -> None:
    """The others are undone at once; it does so at its deadline, and says so when asked: 6."""
    fleet.hosts.lost_after["h3", "act"] = ConnectError("h3", "the connection broke")
    done = fleet.apply()
    assert done.outcomes["h1"] == done.outcomes["h2"] == reverted("failed")
    assert_lost(done.outcomes["h3"])
    assert done.exit_status == 6


def test_a_lost_confirmation_is_asked_for_again(fleet: Fleet) -> None:
    """Never guessed: a host that does not say that it keeps the change is unknown."""
    fleet.hosts.lost_after["h3", "rearm"] = ConnectError("h3", "the connection broke")
    done = fleet.apply()
    assert done.outcomes["h1"] == CONFIRMED
    assert_lost(done.outcomes["h3"])
    assert done.exit_status == 6


def test_a_script_that_dies_is_a_failure(fleet: Fleet) -> None:
    """No end marker: what it did last is not known, and it is undone."""
    fleet.hosts.dying.add(("h1", "make", "a"))
    assert fleet.apply().outcomes == dict.fromkeys(HOSTS, reverted("failed"))


def test_a_host_that_others_change_meanwhile_is_left_alone(fleet: Fleet) -> None:
    """Between the look and the arming: nothing is changed anywhere."""
    fleet.hosts.meddled["h2"] = Toy("h2", "a", "meddled")
    done = fleet.apply()
    assert "has changed since the plan was made" in str(done.errors[0])
    assert done.outcomes == dict.fromkeys(HOSTS, UNCHANGED)
    assert done.exit_status == 4
    assert list(fleet.hosts.toys.values()) == [fleet.hosts.meddled["h2"]]


def test_another_run_that_holds_a_host_is_named(fleet: Fleet) -> None:
    """Status 8; nothing is changed, and no other host stays held."""
    fleet.hosts.held.add("h2")
    with pytest.raises(LockedError, match="eve@far is changing it since") as raised:
        fleet.apply()
    assert raised.value.exit_status == 8
    assert not fleet.hosts.toys
    assert fleet.hosts.guards["h1"]["state"] == "reverted"


def test_ctrl_c_undoes_it_everywhere(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: now, status 130."""
    real = arming.rearm

    def interrupted(*_: Any) -> Any:
        monkeypatch.setattr(arming, "rearm", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(arming, "rearm", interrupted)
    done = fleet.apply()
    assert done.outcomes == dict.fromkeys(HOSTS, reverted("operator"))
    assert done.exit_status == 130
    assert not fleet.hosts.toys


def test_what_is_not_ours_stops_before_any_change(fleet: Fleet) -> None:
    """Named, status 9."""
    stranger = Toy("h2", "a", "theirs")
    fleet.hosts.foreign[stranger.ref] = stranger
    with pytest.raises(ConflictError, match="h2: toy a exists outside this inventory") as raised:
        fleet.apply()
    assert raised.value.exit_status == 9
    assert not fleet.hosts.toys


def test_destroy_removes_ours_alone(fleet: Fleet) -> None:
    """What others made stays."""
    fleet.apply()
    stranger = Toy("h2", "theirs")
    fleet.hosts.foreign[stranger.ref] = stranger
    done = fleet.apply(destroy=True)
    assert done.outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    assert not fleet.hosts.toys
    assert list(fleet.hosts.foreign) == [Ref("h2", "toy", "theirs")]


def test_a_program_that_holds_the_lock_of_the_inventory_fails_the_change(fleet: Fleet) -> None:
    """Such as a follower that hangs."""
    fleet.hosts.locked.add("h1")
    done = fleet.apply()
    assert done.outcomes["h1"] == reverted("failed")
    assert "lock" in str(done.errors[0])


def test_preflight_reports_every_host_at_once(fleet: Fleet) -> None:
    """Not the first finding only."""
    bare = HOST.replace("tool iptables\n", "")
    fleet.hosts.facts = {"h1": bare, "h3": HOST.replace("systemd yes", "systemd no")}
    done = fleet.apply()
    assert [error.host for error in done.errors] == ["h1", "h3"]
    assert "it lacks iptables" in done.errors[0].message
    assert done.exit_status == 4
    assert not fleet.hosts.toys


def test_destroy_asks_for_no_tool_that_it_does_not_need(fleet: Fleet) -> None:
    """A host that lost Docker can still be given back."""
    fleet.apply()
    fleet.hosts.facts = dict.fromkeys(HOSTS, HOST.replace("tool docker\n", ""))
    assert preflight.problems(
        fleet.session.inventory, fleet_room.observe(fleet.session, HOSTS).facts
    )
    assert fleet.apply(destroy=True).exit_status == 0


NOON = time.mktime((2026, 1, 2, 12, 0, 1, 0, 0, -1))


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (UNCHANGED, "unchanged"),
        (CONFIRMED, "confirmed"),
        (UNREACHABLE, "unreachable"),
        (reverted("failed"), "reverted (failed)"),
        (Outcome(OutcomeKind.PENDING, until=NOON), "pending until 12:00:01"),
        (Outcome(OutcomeKind.PENDING), "pending until an unknown time"),
        (unknown(NOON), "unknown (last seen 12:00:01)"),
        (Outcome(OutcomeKind.UNKNOWN, "deadline"), "unknown (undo incomplete after deadline)"),
    ],
)
def test_outcomes_have_the_words_of_the_interface(outcome: Outcome, text: str) -> None:
    """Scripts read them from `--json`."""
    assert describe(outcome) == text


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ((CONFIRMED, UNCHANGED), ExitStatus.OK),
        ((CONFIRMED, UNREACHABLE), ExitStatus.MIXED),
        ((CONFIRMED, reverted("failed")), ExitStatus.MIXED),
        ((reverted("failed"), UNREACHABLE), ExitStatus.REVERTED),
        ((reverted("failed"), UNCHANGED), ExitStatus.REVERTED),
        ((CONFIRMED, unknown(NOON)), ExitStatus.MIXED),
        ((Outcome(OutcomeKind.PENDING, until=NOON), CONFIRMED), ExitStatus.MIXED),
        ((Outcome(OutcomeKind.PENDING, until=NOON), UNREACHABLE), ExitStatus.MIXED),
        ((Outcome(OutcomeKind.PENDING, until=NOON), UNCHANGED), ExitStatus.OK),
    ],
)
def test_the_exit_status_is_the_worst(outcomes: tuple[Outcome, ...], status: ExitStatus) -> None:
    """5 where every changed host is as before, 6 where hosts differ or one is unknown."""
    ended = dict(zip(HOSTS, outcomes, strict=False))
    assert report.Report(tuple(ended), (), (), (), ended).exit_status == status

"""The engine's own logic, on hosts in memory: order, failures, strategies, executions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from provision import desired, engine, preflight, report, resources
from provision import fleet as fleet_room
from provision.errors import ConflictError, ConnectError
from provision.fleet import Session
from provision.resource import Ref, Resource
from tests.fakes import HOST, KINDS, Hosts, Toy, inventory

HOSTS = ("h1", "h2", "h3")


class Fleet:
    """An inventory of three hosts, what is wanted on them, and how they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wanted: Iterable[Resource]) -> None:
        self.hosts = Hosts()
        everything = {resource.ref: resource for resource in wanted}
        kinds = tuple(KINDS[name] for name in sorted(KINDS))
        monkeypatch.setattr(resources, "kinds", lambda: kinds)
        monkeypatch.setattr(
            desired,
            "wanted",
            lambda _inventory, facts: {r: v for r, v in everything.items() if r.host in facts},
        )
        self.session = Session(inventory(*HOSTS), self.hosts)

    def apply(self, hosts: tuple[str, ...] = HOSTS, **options: Any) -> report.Report:
        given = {"destroy": False, "all_or_none": True} | options
        return engine.change(self.session, hosts, **given)

    def executions(self) -> dict[str, int]:
        kinds = [host for host, what in self.hosts.log if what in ("look", "change")]
        return {host: kinds.count(host) for host in HOSTS}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    return Fleet(monkeypatch, [Toy(host, "a") for host in HOSTS])


def test_three_executions_and_then_one(fleet: Fleet) -> None:
    """Look, act, look again; and only a look where nothing differs."""
    assert fleet.apply().states == dict.fromkeys(HOSTS, "changed")
    assert fleet.executions() == dict.fromkeys(HOSTS, 3)
    done = fleet.apply()
    assert (done.states, done.exit_status) == (dict.fromkeys(HOSTS, "unchanged"), 0)
    assert fleet.executions() == dict.fromkeys(HOSTS, 4)


def test_an_unreachable_host_stops_all(fleet: Fleet) -> None:
    """Nothing is changed anywhere, status 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    done = fleet.apply()
    assert done.states == {"h1": "unchanged", "h2": "unreachable", "h3": "unchanged"}
    assert done.exit_status == 4
    assert not fleet.hosts.toys


def test_per_host_does_the_others(fleet: Fleet) -> None:
    """They are changed, status 6; with nothing to change it is 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    done = fleet.apply(all_or_none=False)
    assert done.states == {"h1": "changed", "h2": "unreachable", "h3": "changed"}
    assert done.exit_status == 6
    assert fleet.apply(all_or_none=False).exit_status == 4


def test_a_host_outside_the_limit_is_looked_at_and_left_alone(fleet: Fleet) -> None:
    """Its trouble is not this run's."""
    fleet.hosts.lost["h3"] = ConnectError("h3", "unreachable")
    done = fleet.apply(("h1",))
    assert (done.states, done.exit_status) == ({"h1": "changed"}, 0)
    assert {ref.host for ref in fleet.hosts.toys} == {"h1"}


def test_a_failed_step_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows on that host is not run; the others go on; status 6."""
    fleet = Fleet(monkeypatch, [Toy(host, name) for host in HOSTS for name in "abc"])
    fleet.hosts.broken.add(("h2", "make", "b"))
    done = fleet.apply()
    mine = {one.change.ref.name: one.status for one in done.done if one.change.ref.host == "h2"}
    assert mine == {"a": "done", "b": "failed", "c": "not run"}
    assert done.states == {"h1": "changed", "h2": "failed", "h3": "changed"}
    assert done.exit_status == 6
    assert "toy: cannot make b" in str(done.errors[0])


def test_success_is_a_second_look(fleet: Fleet) -> None:
    """A command that succeeds and changes nothing is a failure, after three rounds."""
    fleet.hosts.deaf.add("h1")
    done = fleet.apply()
    assert done.states["h1"] == "failed"
    assert done.exit_status == 6
    assert fleet.executions()["h1"] == 1 + 2 * engine.ROUNDS


def test_a_host_lost_while_it_is_changed_is_mixed(fleet: Fleet) -> None:
    """Its state is unknown, so the status is 6."""
    fleet.hosts.lost_after_change["h3"] = ConnectError("h3", "the connection broke")
    done = fleet.apply()
    assert done.states["h3"] == "failed"
    assert done.exit_status == 6


def test_a_script_that_dies_is_a_failure(fleet: Fleet) -> None:
    """No end marker: what it did last is not known."""
    fleet.hosts.dying.add(("h1", "make", "a"))
    done = fleet.apply()
    assert done.states["h1"] == "failed"


def test_what_is_not_ours_stops_before_any_change(fleet: Fleet) -> None:
    """Named, status 9."""
    stranger = Toy("h2", "a", "theirs")
    fleet.hosts.foreign[stranger.ref] = stranger
    with pytest.raises(ConflictError, match="h2: toy a exists and is not ours") as raised:
        fleet.apply()
    assert raised.value.exit_status == 9
    assert not fleet.hosts.toys


def test_destroy_removes_ours_alone(fleet: Fleet) -> None:
    """What others made stays."""
    fleet.apply()
    stranger = Toy("h2", "theirs")
    fleet.hosts.foreign[stranger.ref] = stranger
    done = fleet.apply(destroy=True)
    assert done.states == dict.fromkeys(HOSTS, "changed")
    assert not fleet.hosts.toys
    assert list(fleet.hosts.foreign) == [Ref("h2", "toy", "theirs")]


def test_a_locked_host_is_not_changed(fleet: Fleet) -> None:
    """Another run of this inventory is at work there."""
    fleet.hosts.locked.add("h1")
    done = fleet.apply()
    assert done.states["h1"] == "failed"
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
    assert preflight.unfit(fleet.session.inventory, fleet_room.observe(fleet.session, HOSTS).facts)
    assert fleet.apply(destroy=True).exit_status == 0

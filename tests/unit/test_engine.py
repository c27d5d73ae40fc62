"""The engine on hosts in memory: order, failures, strategies, executions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.engine import (
    acting,
    arming,
    conflict_commands,
    desired,
    ending,
    preflight,
    report,
    rounds,
    transaction,
)
from provision.engine import apply as engine
from provision.engine import fleet as fleet_module
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
from provision.engine.plan import Conflict
from provision.engine.refusals import require_no_conflict
from provision.engine.status import describe
from provision.facts import host_probe
from provision.model.errors import (
    ConflictError,
    ConnectError,
    ExitStatus,
    LockedError,
    SupplyError,
)
from provision.model.inventory import Container, Image
from provision.resources.base import Ref, Resource
from tests.fakes import HOST, KINDS, Hosts, Toy, VolatileToy, inventory

HOSTS = ("h1", "h2", "h3")


class Fleet:
    """An inventory of three hosts, the resources that it desires, and the hosts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, resources: Iterable[Resource]) -> None:
        self.hosts = Hosts()
        state = {resource.ref: resource for resource in resources}
        kinds = tuple(KINDS[name] for name in sorted(KINDS))
        monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
        monkeypatch.setattr(
            desired,
            "wanted",
            lambda _inventory, facts, *_: {r: v for r, v in state.items() if r.host in facts},
        )
        self.session = Session(inventory(*HOSTS), self.hosts)

    def apply(
        self, hosts: tuple[str, ...] = HOSTS, *, approve: Any = None, **options: Any
    ) -> report.Report:
        options = {"window_s": 0} | options
        return engine.converge(self.session, hosts, ApplyOptions(**options), approve=approve)

    def executions(self, host: str = "h1") -> list[str]:
        """The verbs of the scripts that ran on a host, without the commands in them."""
        return [verb for name, verb in self.hosts.log if name == host and " " not in verb]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine waits for no deadline, and writes its journal into the test's folder."""
    monkeypatch.setattr(transaction, "WAVE_S", 0)
    monkeypatch.setattr(ending, "GRACE_S", 0)
    monkeypatch.setattr(ending, "RETRY_S", 0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Three hosts that shall get one toy each."""
    return Fleet(monkeypatch, [Toy(host, "a") for host in HOSTS])


def assert_lost(outcome: Outcome) -> None:
    """The outcome is unknown, and the host was last seen during this test."""
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.last_seen is not None
    assert 0 <= time.time() - outcome.last_seen < 60


def test_apply_needs_five_executions_or_one_without_a_change(fleet: Fleet) -> None:
    """Snapshot, arm, act, rearm with a snapshot, confirm; without a change, one snapshot."""
    assert fleet.apply().outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    assert fleet.executions() == ["snapshot", "arm", "act", "rearm", "confirm"]
    applied = fleet.apply()
    assert (applied.outcomes, applied.exit_status) == (dict.fromkeys(HOSTS, UNCHANGED), 0)
    assert fleet.executions()[5:] == ["snapshot"]


def test_every_host_is_armed_before_any_is_changed(fleet: Fleet) -> None:
    """The first host is armed alone, so that of two runs only one proceeds."""
    fleet.apply()
    verbs = [verb for _, verb in fleet.hosts.log if verb in ("arm", "act")]
    assert verbs == ["arm"] * 3 + ["act"] * 3
    assert fleet.hosts.log[3] == ("h1", "arm")


def test_an_unreachable_host_stops_the_change_on_all(fleet: Fleet) -> None:
    """No host is changed, and the exit status is 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    applied = fleet.apply()
    assert applied.outcomes == {"h1": UNCHANGED, "h2": UNREACHABLE, "h3": UNCHANGED}
    assert applied.exit_status == 4
    assert not fleet.hosts.toys


def test_per_host_changes_the_reachable_hosts(fleet: Fleet) -> None:
    """The exit status is 6; the next time, with nothing left to change, it is 4."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    applied = fleet.apply(all_or_none=False)
    assert applied.outcomes == {"h1": CONFIRMED, "h2": UNREACHABLE, "h3": CONFIRMED}
    assert applied.exit_status == 6
    assert fleet.apply(all_or_none=False).exit_status == 4


def test_a_rolling_change_ends_a_group_before_the_next(fleet: Fleet) -> None:
    """Two hosts at a time, in the order of the inventory; the last group has the rest."""
    assert fleet.apply(all_or_none=False, group_size=2).exit_status == 0
    verbs = [entry for entry in fleet.hosts.log if entry[1] in ("act", "confirm")]
    assert sorted(verbs[:4]) == [(h, verb) for h in ("h1", "h2") for verb in ("act", "confirm")]
    assert verbs[4:] == [("h3", "act"), ("h3", "confirm")]


def test_later_groups_are_read_again_where_one_host_stands_for_all(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first group leaves may be a resource of a host of the next one by then."""
    fleet.apply()
    monkeypatch.setattr(Toy, "for_all_hosts", True)
    real = rounds.acting.act

    def passing_on(running: Any, wave: Any) -> None:
        real(running, wave)
        if "h1" in wave:
            fleet.hosts.toys |= {Ref("h2", "toy", "b"): Toy("h2", "b")}

    monkeypatch.setattr(rounds.acting, "act", passing_on)
    done = fleet.apply(destroy=True, all_or_none=False, group_size=1)
    assert (done.exit_status, fleet.hosts.toys) == (0, {})


@pytest.mark.parametrize(("most", "last"), [(0, UNCHANGED), (1, CONFIRMED)])
def test_a_rolling_change_goes_on_until_too_many_hosts_have_failed(
    fleet: Fleet, most: int, last: Outcome
) -> None:
    """A failed host rolls back alone; the others of its group keep the change."""
    warnings: list[str] = []
    fleet.session = replace(fleet.session, warn=warnings.append)
    fleet.hosts.failing.add(("h2", "make", "a"))
    applied = fleet.apply(all_or_none=False, group_size=2, max_failures=most)
    assert applied.outcomes == {"h1": CONFIRMED, "h2": reverted("failed"), "h3": last}
    assert applied.exit_status == ExitStatus.MIXED
    assert warnings == ([] if most else ["Stopping: 1 host of 3 failed (--max-failures 0)"])


def test_a_rolling_change_leaves_an_unreachable_host_out_or_does_not_begin(fleet: Fleet) -> None:
    """An unreachable host is a failed one: 4 and no change, or 6 and the others are changed."""
    fleet.hosts.lost["h2"] = ConnectError("h2", "unreachable")
    options = {"all_or_none": False, "group_size": 1}
    applied = fleet.apply(**options)
    assert applied.outcomes == {"h1": UNCHANGED, "h2": UNREACHABLE, "h3": UNCHANGED}
    assert (applied.exit_status, fleet.hosts.toys) == (4, {})
    applied = fleet.apply(**options, max_failures=1)
    assert applied.outcomes == {"h1": CONFIRMED, "h2": UNREACHABLE, "h3": CONFIRMED}
    assert applied.exit_status == 6


def test_ctrl_c_in_a_group_ends_a_rolling_change(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is rolled back, the hosts before it keep the change, those after it have none."""
    real = rounds.acting.act

    def interrupted(running: Any, wave: Any) -> None:
        if "h2" in wave:
            raise KeyboardInterrupt
        real(running, wave)

    monkeypatch.setattr(rounds.acting, "act", interrupted)
    done = fleet.apply(all_or_none=False, group_size=1, max_failures=3)
    assert done.outcomes == {"h1": CONFIRMED, "h2": reverted("operator"), "h3": UNCHANGED}
    assert done.exit_status == ExitStatus.INTERRUPTED


def test_a_host_outside_the_limit_is_not_changed(fleet: Fleet) -> None:
    """Its connection error does not concern this run."""
    fleet.hosts.lost["h3"] = ConnectError("h3", "unreachable")
    applied = fleet.apply(("h1",))
    assert (applied.outcomes, applied.exit_status) == ({"h1": CONFIRMED}, 0)
    assert {ref.host for ref in fleet.hosts.toys} == {"h1"}


def test_a_failed_step_is_reported_with_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later steps on that host do not run, all hosts roll back, and the exit status is 5."""
    fleet = Fleet(monkeypatch, [Toy(host, name) for host in HOSTS for name in "abc"])
    fleet.hosts.failing.add(("h2", "make", "b"))
    applied = fleet.apply()
    results = [result for result in applied.results if result.change.ref.host == "h2"]
    statuses = {result.change.ref.name: result.status for result in results}
    assert statuses == {"a": "done", "b": "failed", "c": "not run"}
    assert applied.outcomes == dict.fromkeys(HOSTS, reverted("failed"))
    assert applied.exit_status == 5
    assert "toy: cannot make b" in str(applied.errors[0])
    assert not fleet.hosts.toys


def test_per_host_keeps_the_hosts_that_succeed(fleet: Fleet) -> None:
    """Only the host that failed rolls back, and the exit status is 6."""
    fleet.hosts.failing.add(("h2", "make", "a"))
    applied = fleet.apply(all_or_none=False)
    assert applied.outcomes == {"h1": CONFIRMED, "h2": reverted("failed"), "h3": CONFIRMED}
    assert applied.exit_status == 6
    assert {ref.host for ref in fleet.hosts.toys} == {"h1", "h3"}


def test_a_canary_that_fails_protects_the_other_hosts(fleet: Fleet) -> None:
    """The other hosts are not even armed."""
    fleet.hosts.failing.add(("h2", "make", "a"))
    applied = fleet.apply(canary="h2")
    assert applied.outcomes == {"h1": UNCHANGED, "h2": reverted("failed"), "h3": UNCHANGED}
    assert applied.exit_status == 5
    assert "arm" not in fleet.executions("h1")


def test_a_canary_is_confirmed_first(fleet: Fleet) -> None:
    """The other hosts follow together."""
    assert fleet.apply(canary="h3").outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    order = [host for host, verb in fleet.hosts.log if verb == "confirm"]
    assert order[0] == "h3" and sorted(order) == list(HOSTS)


def test_a_manual_change_stays_pending(fleet: Fleet) -> None:
    """The engine makes and checks the change, and leaves the confirmation to a person."""
    applied = fleet.apply(manual=True, window_s=3600)
    assert {outcome.kind for outcome in applied.outcomes.values()} == {OutcomeKind.PENDING}
    remaining = [(outcome.until or 0) - time.time() for outcome in applied.outcomes.values()]
    assert all(3590 < seconds <= 3600 for seconds in remaining)
    assert (applied.exit_status, len(fleet.hosts.toys)) == (0, 3)
    assert {guard["state"] for guard in fleet.hosts.guards.values()} == {"txn"}


def test_a_command_that_changes_nothing_is_a_failure(fleet: Fleet) -> None:
    """The second snapshot decides, not the exit status; the change fails after three rounds."""
    fleet.hosts.ignoring.add("h1")
    applied = fleet.apply()
    assert applied.outcomes == dict.fromkeys(HOSTS, reverted("failed"))
    assert applied.exit_status == 5
    executions = ["act", "rearm"] * rounds.ROUNDS
    assert fleet.executions() == ["snapshot", "arm", *executions, "revert"]


def test_a_host_lost_during_the_change_is_unknown(fleet: Fleet) -> None:
    """The others roll back at once, the lost host at its deadline; the exit status is 6."""
    fleet.hosts.lost_after["h3", "act"] = ConnectError("h3", "the connection broke")
    applied = fleet.apply()
    assert applied.outcomes["h1"] == applied.outcomes["h2"] == reverted("failed")
    assert_lost(applied.outcomes["h3"])
    assert applied.exit_status == 6


def test_a_host_that_does_not_answer_the_confirmation_is_unknown(fleet: Fleet) -> None:
    """The engine asks again, and never guesses that the host keeps the change."""
    fleet.hosts.lost_after["h3", "rearm"] = ConnectError("h3", "the connection broke")
    applied = fleet.apply()
    assert applied.outcomes["h1"] == CONFIRMED
    assert_lost(applied.outcomes["h3"])
    assert applied.exit_status == 6


def test_a_script_that_dies_is_a_failure(fleet: Fleet) -> None:
    """The end marker is missing, so the last command is unknown, and all hosts roll back."""
    fleet.hosts.dying.add(("h1", "make", "a"))
    assert fleet.apply().outcomes == dict.fromkeys(HOSTS, reverted("failed"))


def test_a_host_that_changes_before_it_is_armed_stops_the_change(fleet: Fleet) -> None:
    """The plan no longer fits the host, so no host is changed."""
    fleet.hosts.changed_by_others["h2"] = Toy("h2", "a", "changed")
    applied = fleet.apply()
    assert "has changed since the plan was made" in str(applied.errors[0])
    assert applied.outcomes == dict.fromkeys(HOSTS, UNCHANGED)
    assert applied.exit_status == 4
    assert list(fleet.hosts.toys.values()) == [fleet.hosts.changed_by_others["h2"]]


def test_what_a_follower_puts_back_before_a_host_is_armed_is_planned_again(
    fleet: Fleet,
) -> None:
    """`destroy` removes that, too. A saved plan is made as it is, or not at all."""
    fleet.apply()
    put_back = VolatileToy("h2", "v")
    fleet.hosts.changed_by_others["h2"] = put_back
    refused = fleet.apply(destroy=True, approve=lambda _changes: None)
    assert "volatile v has changed since the plan was made" in str(refused.errors[0])
    assert refused.exit_status == 4
    del fleet.hosts.toys[put_back.ref]
    destroyed = fleet.apply(destroy=True)
    assert destroyed.errors == ()
    assert destroyed.outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    assert not fleet.hosts.toys


def test_a_host_with_another_pending_change_stops_the_change(fleet: Fleet) -> None:
    """The error (8) names the other run, no host is changed, and none stays armed."""
    fleet.hosts.busy.add("h2")
    with pytest.raises(LockedError, match="eve@far is changing it since") as raised:
        fleet.apply()
    assert raised.value.exit_status == 8
    assert not fleet.hosts.toys
    assert fleet.hosts.guards["h1"]["state"] == "reverted"


def test_ctrl_c_rolls_back_on_all_hosts(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts roll back now, and the exit status is 130."""
    rearm = arming.rearm

    def interrupted(*_: Any) -> Any:
        monkeypatch.setattr(arming, "rearm", rearm)
        raise KeyboardInterrupt

    monkeypatch.setattr(arming, "rearm", interrupted)
    applied = fleet.apply()
    assert applied.outcomes == dict.fromkeys(HOSTS, reverted("operator"))
    assert applied.exit_status == 130
    assert not fleet.hosts.toys


@pytest.mark.parametrize("told", [(), ("h1",), HOSTS])
def test_ctrl_c_after_hosts_have_kept_a_destroy_and_cleaned_up(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...]
) -> None:
    """These have no record any more, and are confirmed; the others roll back."""
    fleet.apply()
    records = ending._records

    def interrupted(_transaction: Any, _hosts: Any, script: str, _timeout_s: float) -> Any:
        monkeypatch.setattr(ending, "_records", records)
        for host in told:
            fleet.hosts.run(host, script, timeout_s=9)
            del fleet.hosts.guards[host]
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "_records", interrupted)
    done = fleet.apply(destroy=True)
    expected = {h: CONFIRMED if h in told else reverted("operator") for h in HOSTS}
    assert done.outcomes == expected
    assert {toy.host for toy in fleet.hosts.toys} == set(HOSTS) - set(told)


def test_ctrl_c_between_two_groups_reports_the_first(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary keeps the change that it confirmed, and the report says so."""
    real = engine.difference

    def interrupted(session: Any, state: Any, hosts: Any, **options: Any) -> Any:
        if hosts == ("h2", "h3"):
            raise KeyboardInterrupt
        return real(session, state, hosts, **options)

    monkeypatch.setattr(engine, "difference", interrupted)
    done = fleet.apply(canary="h1")
    assert done.outcomes == {"h1": CONFIRMED, "h2": UNCHANGED, "h3": UNCHANGED}
    assert done.exit_status == 130
    assert report.result_json(done)["interrupted"] is True
    assert list(report.result_lines(done))[-1] == "Interrupted: 1 confirmed, 2 unchanged."


def test_a_foreign_resource_stops_the_change(fleet: Fleet) -> None:
    """The error (9) names it, and no host is changed."""
    foreign = Toy("h2", "a", "theirs")
    fleet.hosts.foreign[foreign.ref] = foreign
    with pytest.raises(ConflictError, match="h2: toy a exists outside this inventory") as raised:
        fleet.apply()
    assert raised.value.exit_status == 9
    assert not fleet.hosts.toys


def test_the_hint_of_a_conflict_is_a_command() -> None:
    """It shows what is in the way, whatever its name."""
    network, chain = Ref("h2", "docker_network", "a b"), Ref("h1", "iptables_chain", "nat/PROV-a")
    conflicts = (
        Conflict(chain, "no command is known"),
        Conflict(network, "exists", conflict_commands.of_resource(network)),
    )
    with pytest.raises(ConflictError) as raised:
        require_no_conflict(conflicts)
    assert raised.value.hint == (
        "look at it: ssh h2 docker network inspect 'a b'; then remove it, or choose another name "
        "or range"
    )
    assert conflict_commands.of_resource(chain) == "iptables -t nat -S PROV-a"
    assert conflict_commands.of_resource(Ref("h1", "toy", "a")) == ""
    assert conflict_commands.of_name("br0") == "ip -d link show br0"
    assert conflict_commands.of_name("/etc/a") == "ls -ld /etc/a"


def test_destroy_removes_only_our_resources(fleet: Fleet) -> None:
    """Resources of another inventory stay."""
    fleet.apply()
    foreign = Toy("h2", "theirs")
    fleet.hosts.foreign[foreign.ref] = foreign
    applied = fleet.apply(destroy=True)
    assert applied.outcomes == dict.fromkeys(HOSTS, CONFIRMED)
    assert not fleet.hosts.toys
    assert list(fleet.hosts.foreign) == [Ref("h2", "toy", "theirs")]


def test_a_program_that_holds_the_inventory_lock_fails_the_change(fleet: Fleet) -> None:
    """Such a program is, for example, a follower that hangs."""
    fleet.hosts.locked.add("h1")
    applied = fleet.apply()
    assert applied.outcomes["h1"] == reverted("failed")
    assert "lock" in str(applied.errors[0])


def test_preflight_reports_every_host_at_once(fleet: Fleet) -> None:
    """The errors name both unfit hosts, and the exit status is 4."""
    without_iptables = HOST.replace("tool iptables\n", "")
    fleet.hosts.facts = {"h1": without_iptables, "h3": HOST.replace("systemd yes", "systemd no")}
    applied = fleet.apply()
    assert [error.host for error in applied.errors] == ["h1", "h3"]
    assert "it lacks iptables" in applied.errors[0].message
    assert applied.exit_status == 4
    assert not fleet.hosts.toys


def test_containers_on_a_default_bridge_that_docker_lacks_are_refused() -> None:
    """`docker run` would fail after other hosts are changed."""
    container = Container("web", "h1", "bridge", Image("busybox:latest"), (), None, "no")
    demo = replace(inventory("h1"), containers={"web": container})
    for networks, problems in (("[]", 1), ('[{"Name":"bridge"}]', 0)):
        facts = host_probe.parse("h1", f"{HOST}\nnetworks {networks}")
        messages = [problem.message for problem in preflight.problems(demo, {"h1": facts})]
        assert len(messages) == problems
        assert all("no default bridge, which web" in message for message in messages)


def test_destroy_needs_no_tool_that_it_does_not_use(fleet: Fleet) -> None:
    """Destroy works on a host that lost Docker since."""
    fleet.apply()
    fleet.hosts.facts = dict.fromkeys(HOSTS, HOST.replace("tool docker\n", ""))
    assert preflight.problems(
        fleet.session.inventory, fleet_module.observe(fleet.session, HOSTS).facts
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
def test_the_texts_of_outcomes_stay_as_they_are(outcome: Outcome, text: str) -> None:
    """Users' scripts read them from `--json`."""
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
def test_the_exit_status_combines_the_outcomes(
    outcomes: tuple[Outcome, ...], status: ExitStatus
) -> None:
    """5 if every changed host rolled back, 6 if hosts differ or one is unknown."""
    by_host = dict(zip(HOSTS, outcomes, strict=False))
    assert report.Report(tuple(by_host), (), (), (), by_host).exit_status == status


@pytest.mark.parametrize(
    ("timeout_s", "limit_s"), [(5.0, 5.0), (60.0, 60.0), (600.0, 60.0), (2000.0, 200.0)]
)
def test_a_longer_time_limit_also_holds_for_looks(timeout_s: float, limit_s: float) -> None:
    """A minute by default, never more than the time limit, and a tenth of a long one."""
    session = Session(inventory(*HOSTS), Hosts(), timeout_s=timeout_s)
    assert session.snapshot_s == limit_s


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SupplyError("no key"), ZeroDivisionError()]
)
def test_a_failure_of_this_machine_leaves_no_host_waiting_for_its_deadline(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Such as its full disk, where it issues a certificate in the midst of a change."""
    fleet = Fleet(monkeypatch, [Toy(host, "a") for host in HOSTS])

    def sign(_steps: object) -> object:
        raise error

    monkeypatch.setattr(acting, "sign", sign)
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            fleet.apply()
    else:
        result = fleet.apply()
        assert result.exit_status is ExitStatus.REVERTED
        assert {outcome.kind for outcome in result.outcomes.values()} == {OutcomeKind.REVERTED}
        (told,) = result.errors
        assert "the controller cannot go on with the change" in told.message
    assert {guard["state"] for guard in fleet.hosts.guards.values()} == {"reverted"}


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ZeroDivisionError()])
def test_a_failure_between_two_confirmations_parts_no_hosts(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """One host keeps the change already: the others, which were told to, keep it as well."""
    confirm = fleet.hosts._confirm

    def failing(host: str, script: str) -> Any:
        if host == "h2":
            monkeypatch.setattr(fleet.hosts, "_confirm", confirm)
            raise error
        return confirm(host, script)

    monkeypatch.setattr(fleet.hosts, "_confirm", failing)
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            fleet.apply()
    else:
        applied = fleet.apply()
        assert (applied.outcomes, applied.exit_status) == (dict.fromkeys(HOSTS, CONFIRMED), 0)
    assert {guard["state"] for guard in fleet.hosts.guards.values()} == {"confirmed"}


def test_ctrl_c_after_a_failure_of_this_machine_ends_a_rolling_change(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group is left to its deadlines, and the next ones have no change."""
    revert = ending.revert

    def sign(_steps: object) -> object:
        raise OSError(28, "No space left on device")

    def interrupted(*_: Any) -> None:
        monkeypatch.setattr(ending, "revert", revert)
        raise KeyboardInterrupt

    monkeypatch.setattr(acting, "sign", sign)
    monkeypatch.setattr(ending, "revert", interrupted)
    applied = fleet.apply(all_or_none=False, group_size=1, max_failures=3)
    assert applied.exit_status == ExitStatus.INTERRUPTED
    assert {host for host, verb in fleet.hosts.log if verb == "arm"} == {"h1"}

"""The oracle of the fault campaign accepts good states, and names every kind of violation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.fault_oracle import (
    NOTHING,
    Record,
    Run,
    Situation,
    View,
    exact_differences,
    is_reference,
    judge_capture,
    judge_fault,
    judge_host,
    judge_leftovers,
    judge_run,
    judge_status,
    told_state,
    verdict,
)

CREATE_A = frozenset({"create route r1", "create container c1"})
CREATE_B = frozenset({"create route r1", "create container c2"})
A_TO_B = frozenset({"delete container c1", "create container c2"})
B_TO_A = frozenset({"delete container c2", "create container c1"})
EMPTY = frozenset[str]()
CAPTURE = "# links\neth0\n# files\nf1 /etc/a\n# processes\n0\n"
CAPTURE_A = CAPTURE.replace("eth0", "br0\neth0")


def view(plan_a: frozenset[str], plan_b: frozenset[str], capture: str = CAPTURE_A) -> View:
    """A host with these plans of A and B, where no change was ever made."""
    return View(True, "unchanged", (), {"A": plan_a, "B": plan_b}, capture)


NONE = view(CREATE_A, CREATE_B, CAPTURE)
HAS_A = view(EMPTY, A_TO_B)
HAS_B = view(B_TO_A, EMPTY)
HALF = view(frozenset({"create container c1"}), CREATE_B)
DRIFTED_A = view(frozenset({"create route r1"}), A_TO_B | {"create route r1"})
BLIND = View(True, "unchanged", (), {"A": None, "B": None}, CAPTURE_A, error="Docker is stopped")
CONFIRMED = Record("confirmed", "2", 20)
REVERTED = Record("reverted", "2", 20, "failed", "reverted")
INCOMPLETE = replace(REVERTED, result="incomplete")
ON_A = Situation(HAS_A, "A")
APPLY_B = Run("B")


def recorded(host: View, record: Record) -> View:
    """The host with a record, and with the status that tells it."""
    status = "confirmed" if record.state == "confirmed" else f"reverted ({record.reason})"
    return replace(host, records=(record,), status=status)


def test_a_change_that_did_not_begin_leaves_what_a_killed_dockerd_left() -> None:
    """Its containers may have exited; nothing else may differ, and not after a rollback."""
    stopped = frozenset({"update container c1"})
    disarmed = Record("reverted", "2", 20, "none", "reverted")
    running = f"{CAPTURE_A}# docker\nc1 running\n"
    exited = running.replace("running", "exited")
    after = replace(view(stopped, A_TO_B | stopped, exited), records=(disarmed,))
    killed = replace(ON_A, before=replace(HAS_A, capture=running), exits=True)
    assert verdict(after, killed, "B", NONE) == "old"
    assert not list(judge_host("h1", after, killed, APPLY_B, NONE))
    assert verdict(after, ON_A, "B", NONE) == "between"
    assert verdict(replace(after, records=(REVERTED,)), killed, "B", NONE) == "between"
    other = replace(view(stopped | {"create route r1"}, A_TO_B), records=(disarmed,))
    assert verdict(other, killed, "B", NONE) == "between"
    changed = replace(after, capture=f"{exited}f2 /etc/left\n")
    assert list(judge_host("h1", changed, killed, APPLY_B, NONE))


def test_a_change_of_nothing_leaves_what_a_killed_dockerd_left() -> None:
    """`apply` of what is applied makes no record: the last one is of an earlier change."""
    stopped = frozenset({"update container c1"})
    killed = replace(ON_A, before=recorded(HAS_A, CONFIRMED), exits=True)
    after = recorded(view(stopped, A_TO_B | stopped), CONFIRMED)
    run = Run("A", told={"h1": "unchanged"})
    assert not list(judge_host("h1", after, killed, run, NONE))
    assert verdict(after, killed, "B", NONE) == "old"
    later = recorded(after, replace(CONFIRMED, id="3", since=30))
    assert list(judge_host("h1", later, killed, run, NONE))


def test_drift_that_a_reboot_repairs_is_no_violation_where_docker_is_stopped() -> None:
    """The plan is refused, so the captures are compared."""
    before = replace(BLIND, capture=CAPTURE)
    assert verdict(BLIND, Situation(before, "A", drifted=True), "B", NONE) == "old"
    assert verdict(BLIND, Situation(before, "A"), "B", NONE) == "between"
    assert verdict(before, Situation(BLIND, "A", drifted=True), "B", NONE) == "between"
    assert verdict(BLIND, Situation(before, NOTHING, drifted=True), "B", NONE) == "between"
    left = replace(BLIND, capture=f"{CAPTURE_A}f2 /etc/provision/mesh/left\n")
    assert verdict(left, Situation(before, "A", drifted=True), "B", NONE) == "between"


@pytest.mark.parametrize(
    ("after", "situation", "target", "expected"),
    [
        (HAS_B, ON_A, "B", "new"),
        (HAS_A, ON_A, "B", "old"),
        (HAS_A, ON_A, "A", "both"),
        (HALF, ON_A, "B", "between"),
        (NONE, ON_A, NOTHING, "new"),
        (HALF, ON_A, NOTHING, "between"),
        (HALF, Situation(NONE, NOTHING), "A", "between"),
        (NONE, Situation(NONE, NOTHING), "A", "old"),
        # Drift that was there before the change may have gone, nothing may have come.
        (DRIFTED_A, Situation(DRIFTED_A, "A", drifted=True), "B", "old"),
        (HAS_A, Situation(DRIFTED_A, "A", drifted=True), "B", "old"),
        (HALF, Situation(DRIFTED_A, "A", drifted=True), "B", "between"),
        (DRIFTED_A, ON_A, "B", "between"),
        # While plan is refused, the captures tell.
        (BLIND, ON_A, "B", "old"),
        (replace(BLIND, capture=CAPTURE), ON_A, "B", "between"),
    ],
)
def test_verdict(after: View, situation: Situation, target: str, expected: str) -> None:
    """A host is old, new, both, or between."""
    assert verdict(after, situation, target, NONE) == expected


def violations_of_host(after: View, run: Run = APPLY_B, situation: Situation = ON_A) -> list[str]:
    """What judge_host says of h1."""
    return list(judge_host("h1", after, situation, run, NONE))


def test_a_host_that_is_old_or_new_and_says_so_is_no_violation() -> None:
    """Confirmed and new, reverted and old."""
    assert not violations_of_host(
        recorded(HAS_B, CONFIRMED), replace(APPLY_B, told={"h1": "confirmed"})
    )
    assert not violations_of_host(
        recorded(HAS_A, REVERTED), replace(APPLY_B, told={"h1": "reverted (failed)"})
    )


@pytest.mark.parametrize(
    ("after", "told", "text"),
    [
        (HALF, "", "h1 is neither old nor new"),
        (recorded(HAS_A, CONFIRMED), "", "record says confirmed, but its state is old"),
        (recorded(HAS_B, REVERTED), "", "record says reverted (failed), but its state is new"),
        (HAS_A, "confirmed", "reported confirmed, but its state is old"),
        (HAS_B, "reverted (failed)", "reported reverted (failed), but its state is new"),
        (HAS_B, "unchanged", "reported unchanged, but its state is new"),
        (replace(HAS_A, capture=CAPTURE), "", "h1 is not as before: -br0"),
    ],
)
def test_each_untruth_of_a_host_is_a_violation(after: View, told: str, text: str) -> None:
    """Between, a wrong record, a wrong report, a capture that is not as before."""
    violations = violations_of_host(after, replace(APPLY_B, told={"h1": told}))
    assert any(text in violation for violation in violations), violations


def test_a_record_from_before_the_change_says_nothing_about_it() -> None:
    """A host whose last record is that of an earlier change was not changed."""
    before = recorded(HAS_A, CONFIRMED)
    assert not violations_of_host(before, situation=Situation(before, "A"))


def test_captures_ignore_records_mounts_and_the_database_of_open_vswitch() -> None:
    """A rollback does not restore these; the order counts unless Docker has started anew."""
    passing = "x /var/lib/provision/confirmed.2/id\ny /etc/mtab\nz /etc/openvswitch/conf.db\n"
    assert not violations_of_host(replace(HAS_A, capture=CAPTURE_A + passing))
    swapped = replace(HAS_A, capture=CAPTURE_A.replace("br0\neth0", "eth0\nbr0"))
    assert violations_of_host(swapped)
    assert not violations_of_host(swapped, situation=replace(ON_A, reordered=True))
    assert not violations_of_host(swapped, situation=replace(ON_A, drifted=True))


@pytest.mark.parametrize(
    ("records", "status", "ok"),
    [
        ((), "unchanged", True),
        ((CONFIRMED,), "confirmed", True),
        ((REVERTED,), "reverted (failed)", True),
        ((REVERTED, replace(CONFIRMED, since=30)), "confirmed", True),
        ((replace(REVERTED, reason="none"),), "unchanged", True),
        ((), "confirmed", False),
        ((CONFIRMED,), "unchanged", False),
        ((REVERTED,), "reverted (deadline)", False),
        ((REVERTED, replace(CONFIRMED, since=30)), "reverted (failed)", False),
        ((Record("txn", "3", 30),), "pending until 12:00:00", False),
        ((Record("reverting", "3", 30),), "pending until 12:00:00", False),
        (
            (replace(REVERTED, result="incomplete"),),
            "unknown (undo incomplete after failed)",
            False,
        ),
    ],
)
def test_status_is_compared_with_the_records_of_the_host(
    records: tuple[Record, ...], status: str, ok: bool
) -> None:
    """The newest record counts; a pending change or an incomplete undo is a violation."""
    host = replace(HAS_A, records=records, status=status)
    assert (not list(judge_status("h1", host))) == ok


def test_a_pending_change_is_told_and_is_a_violation_after_its_deadline() -> None:
    """It is told truly, and still must not be there."""
    host = replace(HAS_A, records=(Record("txn", "3", 30), replace(CONFIRMED, since=40)))
    assert told_state(host) == r"pending until .*"
    (violation,) = judge_status("h1", replace(host, status="pending until 12:00:00"))
    assert "change 3 is still pending" in violation


def test_a_host_that_does_not_answer_is_a_violation() -> None:
    """Whatever `status` says of it."""
    (violation,) = judge_status("h2", replace(HAS_A, reachable=False))
    assert violation == "h2 does not answer SSH"


def test_what_a_change_leaves_is_a_violation() -> None:
    """A stashed container, not the folder of a change that was never armed."""
    assert not list(judge_leftovers("h1", replace(HAS_A, leftovers="/var/lib/provision/new.2")))
    stashed = "/var/lib/provision/new.2\nprovision-2-c1"
    (violation,) = judge_leftovers("h1", replace(HAS_A, leftovers=stashed))
    assert violation == "h1 has left: provision-2-c1"


def violations_of_run(first: View, second: View, run: Run) -> list[str]:
    """What judge_run says of two hosts that had A."""
    hosts = {"h1": first, "h2": second}
    situations = dict.fromkeys(hosts, ON_A)
    return list(judge_run(hosts, situations, run, dict.fromkeys(hosts, NONE)))


@pytest.mark.parametrize(
    ("second", "run"),
    [
        (HAS_B, APPLY_B),
        (HAS_B, replace(APPLY_B, status=None, faulted=True)),
        (HAS_A, replace(APPLY_B, status=None, faulted=True, may_differ=True)),
    ],
)
def test_a_good_run(second: View, run: Run) -> None:
    """All hosts are new; or a killed controller has confirmed only some of them."""
    assert not violations_of_run(HAS_B, second, run)


@pytest.mark.parametrize(
    ("hosts", "run", "text"),
    [
        ((HAS_A, HAS_A), replace(APPLY_B, status=5), "exit status 5 though nothing disturbed"),
        ((HAS_A, HAS_A), replace(APPLY_B, status=4, errors="h1: x"), "disturbed the change: h1: x"),
        ((HAS_A, HAS_A), replace(APPLY_B, status=1, faulted=True), "exit status 1 of a change"),
        ((HAS_A, HAS_A), replace(APPLY_B, status=8, faulted=True), "exit status 8 of a change"),
        ((HAS_B, HAS_A), APPLY_B, "exit status 0, but h2 is old"),
        ((HAS_B, HAS_B), replace(APPLY_B, status=5, faulted=True), "exit status 5, but h1 is new"),
        ((HAS_B, HAS_A), replace(APPLY_B, status=None, faulted=True), "some hosts are old and"),
    ],
)
def test_each_violation_of_a_run(hosts: tuple[View, View], run: Run, text: str) -> None:
    """A wrong exit status, and hosts that end differently without need."""
    violations = violations_of_run(*hosts, run)
    assert any(text in violation for violation in violations), violations


def test_a_change_is_refused_while_docker_is_stopped() -> None:
    """Nothing was changed, and the exit status says that a host cannot be changed."""
    assert not violations_of_run(BLIND, BLIND, replace(APPLY_B, status=4))


def test_hosts_recover_from_a_fault_without_a_change() -> None:
    """A reboot restores the base; drift stays; no fault makes a record."""
    assert not list(judge_fault("h1", HAS_A, ON_A, recovers=True))
    assert list(judge_fault("h1", DRIFTED_A, ON_A, recovers=True))
    refused = replace(HAS_A, plans={"A": None}, error="h2: dockerd does not answer; h3: it is down")
    assert not list(judge_fault("h1", refused, ON_A, recovers=True))
    assert list(judge_fault("h2", refused, ON_A, recovers=True))
    assert not list(judge_fault("h1", DRIFTED_A, ON_A, recovers=False))
    assert not list(judge_fault("h1", HALF, replace(ON_A, drifted=True), recovers=True))
    assert list(judge_fault("h1", recorded(HAS_A, CONFIRMED), ON_A, recovers=False))


def test_captures_of_one_variant_are_equal() -> None:
    """In any order; with other files only where that is asked for."""
    other_file = CAPTURE_A.replace("f1", "f2")
    assert not list(judge_capture("h1", CAPTURE_A, CAPTURE_A.replace("br0\neth0", "eth0\nbr0")))
    assert not list(judge_capture("h1", CAPTURE_A, other_file, files=False))
    (violation,) = judge_capture("h1", CAPTURE_A, other_file)
    assert "-f1 /etc/a" in violation
    assert list(judge_capture("h1", CAPTURE_A, CAPTURE, files=False))


def test_a_destroyed_host_is_exactly_as_before() -> None:
    """A record that is left is a difference; a mount of Docker is none."""
    assert not exact_differences(CAPTURE, CAPTURE + "m /etc/mtab\n")
    assert exact_differences(CAPTURE, CAPTURE + "x /var/lib/provision/confirmed.2/id\n")


def test_captures_ignore_the_address_that_docker_gave_to_a_container() -> None:
    """In Docker's rules; in our own rules, in routes and addresses it counts."""
    line = "nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination {}:80\n"
    line += "filter -A DOCKER -d {}/32 ! -i docker0 -j ACCEPT\n"
    first, second = line.replace("{}", "172.17.0.2"), line.replace("{}", "172.17.0.3")
    assert not list(judge_capture("h1", first, second))
    for text in ("filter -A PROV-demo -s {}/32 -j ACCEPT", "172.20.0.0/16 via {}", "eth1 {}/32"):
        changed = (text.replace("{}", "10.0.0.1"), text.replace("{}", "10.0.0.2"))
        assert list(judge_capture("h1", *changed)), text


def test_a_host_with_exited_containers_is_no_reference() -> None:
    """A later capture of the variant, with its containers, would differ from it."""
    stopped = frozenset({"update container c1", "create shared_namespace c2"})
    killed = replace(ON_A, exits=True)
    after = recorded(view(stopped, A_TO_B | stopped), CONFIRMED)
    assert verdict(after, killed, "A", NONE) == "new"
    assert not is_reference(after, "A")
    assert is_reference(HAS_A, "A") and not is_reference(BLIND, "A")

"""The text and the JSON of a report: conflicts with their hints, the halves of a replacement."""

from __future__ import annotations

from provision.engine.conflict_hints import hints
from provision.engine.outcome import Outcome, OutcomeKind
from provision.engine.plan import Change, Conflict
from provision.engine.report import ChangeResult, ChangeStatus, Report, result_json, result_lines
from provision.model.errors import ConnectError, ExitStatus, UnfitError
from provision.resources.base import Ref
from provision.resources.kinds.sysctl import Sysctl

BLUE = Ref("h3", "docker_network", "blue")


def test_a_host_that_was_left_out_makes_a_change_mixed() -> None:
    """With `--strategy per-host`, also a host that answers, but lacks something."""
    for error in (UnfitError("h2", "it lacks ip"), ConnectError("h2", "no route")):
        left_out = Report(("h1", "h2"), (), (), (error,), {"h1": Outcome(OutcomeKind.CONFIRMED)})
        assert left_out.exit_status == ExitStatus.MIXED
        assert Report(("h1", "h2"), (), (), (error,)).exit_status == ExitStatus.HOST
    stopped = {"h1": Outcome(OutcomeKind.REVERTED)}
    assert Report(("h1",), (), (), (error,), stopped).exit_status == ExitStatus.REVERTED


def test_a_hint_is_given_once() -> None:
    """Conflicts with one hint share it; one command stands for all that only say what is there."""
    inspect = "docker network inspect blue"
    conflicts = (
        Conflict(BLUE, "docker_network blue exists outside this inventory", inspect),
        Conflict(BLUE._replace(host="h4"), "docker_network blue exists outside", inspect),
        Conflict(BLUE, "eth1 is a port of bond0"),
        Conflict(BLUE, "blue belongs to inventory shop", inspect, "destroy it by shop.yml"),
        Conflict(BLUE, "web belongs to inventory shop", "", "destroy it by shop.yml"),
    )
    look = "look at it: ssh h3 docker network inspect blue"
    assert hints(conflicts) == (
        "destroy it by shop.yml",
        f"{look}; then remove it, or choose another name or range",
    )
    assert hints(conflicts[2:3]) == ()


def test_the_halves_of_a_replacement_are_told_apart() -> None:
    """A network that was removed and could not be made again has two results."""
    before, after = (Sysctl("h1", "k", text, "demo") for text in "01")
    change = Change(Ref("h1", "sysctl", "k"), "replace", before, after, None)
    results = (
        ChangeResult(change, ChangeStatus.DONE, removes=True),
        ChangeResult(change, ChangeStatus.FAILED),
    )
    report = Report(("h1",), results, (), ())
    assert list(result_lines(report))[:2] == [
        "h1: done: replace (remove) sysctl k",
        "h1: failed: replace (create) sysctl k",
    ]
    assert [entry.get("half") for entry in result_json(report)["changes"]] == ["remove", "create"]
    planned = Report(("h1",), (ChangeResult(change),), (), ())
    assert "half" not in result_json(planned)["changes"][0]

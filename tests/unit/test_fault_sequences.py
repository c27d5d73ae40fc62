"""Random sequences of changes and faults: the same for a seed, and every kind occurs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.bench import fault_variants
from tests.bench.fault_sequences import (
    ENDINGS,
    FAULTS,
    HOSTS,
    KINDS,
    LENGTH,
    METHODS,
    MORE_METHODS,
    PHASES,
    Step,
    choose,
    seeds,
)
from tests.house.test_structure import ROOT
from tests.lab.crash import STEPS

MANY = [step for seed in seeds(7, 400) for step in choose(seed, "routes")]


def test_a_seed_gives_the_same_sequence_in_every_process() -> None:
    """Python's hash of a string differs by process, so it must have no part in it."""
    code = "from tests.bench.fault_sequences import *; print(*choose(2978347, 'routes'), sep='; ')"
    argv = (sys.executable, "-c", code)
    texts = {
        subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()
        for _ in range(2)
    }
    assert texts == {"; ".join(map(str, choose(2978347, "routes")))}
    assert str(choose(2978347, "routes")[0]) == (
        "kill (SIGKILL of the controller), 0.0 s after armed of apply A, ended by deadline"
    )


def test_sequences_differ_by_seed_and_method() -> None:
    """A campaign has as many sequences as it has seeds, which begin the same in a longer one."""
    assert seeds(1, 5) == seeds(1, 200)[:5] != seeds(2, 5)
    assert len(set(seeds(1, 200))) == 200
    assert len({choose(seed, "routes") for seed in seeds(1, 50)}) > 45
    assert choose(3254257, "routes") != choose(3254257, "modes")


def test_every_kind_and_every_fault_occurs() -> None:
    """Kinds, faults, phases, endings; at one host or all, during a change and without one."""
    assert {step.kind for step in MANY} == set(KINDS)
    for kind, faults in FAULTS.items():
        assert {step.fault for step in MANY if step.kind == kind} == set(faults), kind
    assert {step.phase for step in MANY} == {*PHASES, ""}
    assert {step.ending for step in MANY} == {*ENDINGS, ""}
    assert {len(step.hosts) for step in MANY} == {0, 1, 3}
    for kind in ("reboot", "docker"):
        assert {bool(step.change) for step in MANY if step.kind == kind} == {True, False}


def test_a_sequence_has_five_steps_and_begins_with_a_change() -> None:
    """Otherwise the faults would meet hosts that have nothing of ours."""
    for seed in seeds(3, 100):
        steps = choose(seed, "vxlan")
        assert len(steps) == LENGTH == 5
        assert steps[0].change in ("A", "B")


def test_a_change_changes_something() -> None:
    """A fault during a change needs one; the change differs from the last one that succeeded."""
    for seed in seeds(4, 200):
        applied = "destroy"
        for step in choose(seed, "routes"):
            if step.change != "heal":
                assert not step.change or step.change != applied
            if step.kind in ("flush", "link", "stop", "drift", "destroy"):
                assert applied != "destroy"
            if step.kind in ("apply", "destroy"):
                applied = step.change
            elif step.kind == "heal" and applied == "destroy":
                applied = "A"


def test_a_step_is_complete() -> None:
    """A fault during a change has its moment, one on its own has hosts; operations exist."""
    for step in MANY:
        assert bool(step.fault) == (step.kind in FAULTS)
        assert set(step.hosts) <= set(HOSTS)
        assert step.operation <= STEPS["routes.yml"]
        if step.kind in ("flush", "link", "stop", "drift"):
            assert step.hosts and not step.change
        assert step.kills_docker == ((step.kind, step.fault) == ("docker", "SIGKILL"))
        if step.kind == "kill":
            assert step.change and bool(step.phase) != bool(step.operation)
            assert step.kills_controller == bool(step.phase)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("apply", "A"), "apply A"),
        (Step("heal", "heal"), "heal"),
        (
            Step("kill", "destroy", (), "SIGINT of the controller", "armed", 0.5),
            "kill (SIGINT of the controller), 0.5 s after armed of destroy",
        ),
        (
            Step("disk", "B", ("h2",), "full from a step on", operation=3),
            "disk (full from a step on) on h2, operation 3 of apply B",
        ),
        (Step("reboot", "", HOSTS, "reboot"), "reboot (reboot) on h1,h2,h3"),
    ],
)
def test_a_step_is_printed(step: Step, text: str) -> None:
    """The line of a sequence tells what was done, when, and where."""
    assert str(step) == text


def test_kinds_are_weighted() -> None:
    """Changes and kills are more frequent than flushes."""
    counts = Counter(step.kind for step in MANY)
    assert counts["apply"] > counts["flush"] and counts["kill"] > counts["flush"]


def test_every_method_has_two_variants() -> None:
    """Each example has a variant B, and an inventory of the example."""
    assert set(fault_variants.VARIANT_B) == {*METHODS, *MORE_METHODS}
    for method in fault_variants.VARIANT_B:
        assert (ROOT / f"inventories/{method}.yml").exists()

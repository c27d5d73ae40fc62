"""Laws: the work of a plan and of a verify grows no faster than the pairs of hosts.

No seconds are measured. Every line of `provision/` that runs is counted, for two fleets of which
one has twice as many hosts.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from provision.checks import gather
from provision.checks.page import page
from provision.checks.run import run_checks
from provision.checks.text import as_json, show
from provision.engine import apply, report
from provision.engine.fleet import Session
from provision.engine.plan import Plan, operations, waves
from provision.inventory.load import load
from tests.bench import captured_fleet, judging
from tests.bench.scale import METHODS, printed, write_inventory
from tests.house.test_structure import ROOT

SMALL = 12
"""Hosts of the smaller fleet."""
QUADRATIC = 2.0**2
"""A fleet of twice the size has four times as many routes, forwards or leases."""
SLACK = 1.1
"""(2n-1)/(n-1) is a little more than 2, so that its square is a little more than 4."""
RARE = 200
"""Lines that run less often are of no account, even if they run for each host of each host."""

Counts = Counter[tuple[CodeType, int]]


@contextmanager
def counted_lines() -> Iterator[Counts]:
    """Count how often each line of `provision/` runs, in all threads that start meanwhile."""
    counts: Counts = Counter()
    source = str(ROOT / "provision")

    def count(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        if event == "call":
            return count if frame.f_code.co_filename.startswith(source) else None
        if event == "line":
            counts[frame.f_code, frame.f_lineno] += 1
        return count

    previous = sys.gettrace()
    threading.settrace(count)
    sys.settrace(count)
    try:
        yield counts
    finally:
        sys.settrace(previous)
        threading.settrace(previous)  # type: ignore[arg-type]


def plan_twice(method: str, hosts: int, folder: Path) -> Counts:
    """Plan before and after an apply, with the operations and the text; the lines that ran."""
    folder.mkdir()
    inventory = load(write_inventory(folder, method, hosts))
    for state in ("bare", "applied"):
        captured_fleet.write(inventory, folder / state, applied=state == "applied")

    def preview(state: str) -> report.Report:
        # One thread: two that count the same line at the same time would lose counts.
        session = Session(inventory, captured_fleet.CapturedFleet(folder / state), jobs=1)
        return apply.preview(session, tuple(inventory.hosts))

    preview("bare")  # imports and caches
    with counted_lines() as counts:
        first, second = preview("bare"), preview("applied")
        plan = Plan(tuple(result.change for result in first.results), ())
        waves(operations(plan, txn="0" * 16))
        printed(first)
    assert len({result.change.ref.host for result in first.results}) == hosts
    assert not (second.results or second.conflicts or second.errors)
    return counts


@pytest.mark.parametrize("method", METHODS)
def test_no_line_runs_more_often_than_hosts_have_entries_for_each_other(
    method: str, tmp_path: Path
) -> None:
    """Each host of these methods has an entry for each other host: a route, a forward, a lease."""
    small = plan_twice(method, SMALL, tmp_path / "small")
    large = plan_twice(method, 2 * SMALL, tmp_path / "large")
    require_quadratic(small, large)


def require_quadratic(small: Counts, large: Counts) -> None:
    """Twice the hosts: each line runs at most four times as often, and the message names it."""
    faster = {
        f"{Path(code.co_filename).name}:{line} {code.co_qualname}: {small[code, line]} → {number}"
        for (code, line), number in large.items()
        if number > RARE and number > QUADRATIC * SLACK * max(small[code, line], 1)
    }
    assert not faster
    assert sum(large.values()) > 10_000, "hardly a line was counted"


def judge(containers: int, folder: Path, patch: pytest.MonkeyPatch) -> Counts:
    """Judge a verify of all pairs, and print it in each form; the lines that ran."""
    folder.mkdir()
    evidence = judging.gathered(containers, folder)
    patch.setattr(gather, "evidence", lambda *_: evidence)
    session = Session(evidence.inventory, captured_fleet.CapturedFleet(folder))
    with counted_lines() as counts:
        result = run_checks(session, evidence.hosts, junit=True, expression="not mode")
        show(result)
        as_json(result)
        page(result, "law")
    assert len(result.checks) >= containers * (containers - 1)
    return counts


def test_a_verify_is_judged_and_printed_in_time_linear_in_its_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the containers are four times the pairs: no check goes through all others' evidence."""
    small = judge(SMALL, tmp_path / "small", monkeypatch)
    require_quadratic(small, judge(2 * SMALL, tmp_path / "large", monkeypatch))

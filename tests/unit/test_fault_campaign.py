"""The program of the fault campaign: its sequences, its figures and its exit status."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.bench import faults
from tests.bench.fault_run import Result
from tests.bench.fault_sequences import METHODS, seeds

GOOD = Result(kinds=Counter(apply=2, kill=3), changes=Counter(old=6, new=9))
BAD = Result(["h2 is neither old nor new"], kinds=Counter(apply=1), changes=Counter(between=1))


def chosen(*arguments: str) -> list[tuple[int, str]]:
    """The sequences of a command line."""
    options = faults.arguments().parse_args(arguments)
    return list(faults.sequences(options, options.methods.split(",")))


def test_methods_take_turns() -> None:
    """Each sequence has a seed of its own, from the seed of the campaign."""
    first = seeds(5, 8)
    assert chosen("--seed", "5", "--sequences", "8") == [
        (seed, METHODS[number % len(METHODS)]) for number, seed in enumerate(first)
    ]
    assert chosen("--seed", "5", "--sequences", "2", "--methods", "vxlan") == [
        (first[0], "vxlan"),
        (first[1], "vxlan"),
    ]


def test_a_campaign_can_be_run_in_parts() -> None:
    """Each part has the sequences that the whole campaign has in its place, methods included."""
    whole = chosen("--seed", "5", "--sequences", "20")
    parts = [chosen("--seed", "5", "--sequences", "20", "--first", str(n)) for n in (1, 9, 20, 21)]
    assert parts == [whole, whole[8:], whole[19:], []]


def test_one_sequence_is_repeated() -> None:
    """By each of the methods, whatever the seed of the campaign."""
    assert chosen("--only", "77", "--methods", "vxlan,modes") == [(77, "vxlan"), (77, "modes")]


def test_the_figures_add_up() -> None:
    """Sequences by method, steps by kind, hosts by state, violations."""
    figures = faults.Figures(results=[("routes", GOOD), ("vxlan", GOOD), ("routes", BAD)])
    table = figures.table()
    for row in (
        "| sequences | 3 (2 routes, 1 vxlan) |",
        "| steps | 11 (5 apply, 6 kill) |",
        "| hosts after a change | 12 old, 18 new, 1 between |",
        "| sequences with a violation | 1 |",
    ):
        assert row in table, table


@pytest.mark.parametrize(("results", "status"), [((GOOD,), 0), ((GOOD, BAD), 1)])
def test_the_exit_status_tells_violations(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    results: tuple[Result, ...],
    status: int,
) -> None:
    """1 if a sequence has one, 0 if none has; the seed comes first, the figures last."""

    def campaign(_pending: object, _hours: float, _folder: Path, figures: faults.Figures) -> None:
        figures.results += [("routes", result) for result in results]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(faults, "campaign", campaign)
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))
    methods = [] if status else ["--methods", "routes,vxlan"]
    monkeypatch.setattr("sys.argv", ["faults", "--seed", "9", *methods])
    with pytest.raises(SystemExit) as end:
        faults.main()
    assert end.value.code == status
    lines = capsys.readouterr().out.splitlines()
    rest = " ".join(("--seed 9 --sequences 200 --first", str(len(results) + 1), *methods))
    assert lines[0].startswith("seed 9,") and lines[-3].startswith("| time |")
    assert lines[-1] == f"The other sequences: python -m tests.bench.faults {rest}"

"""The result of a verify as tables and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.table import Table

from provision.checks import matrix
from provision.checks.diagnosis import Diagnosis
from provision.checks.matrix import OF_MODE, MatrixEnd, PairVerdicts, of_pair, verdict
from provision.checks.run import PairSample, Verification, interruption
from provision.checks.subjects import Check
from provision.engine.report import change_json, interrupted_json
from provision.model.grouping import grouped
from provision.model.terminal import printable
from provision.model.text import count

WIDE = 100_000
"""Columns for tables: rich cuts names and addresses to `…` at the width of the terminal."""
SAMPLED_ROWS = 12
"""Sources of a sample that are listed, with their targets."""
CALLERS = 24
"""Columns for the callers of a published port."""
FAILURES = 3
"""Failures of one check that are printed, unless --verbose asks for all."""


def show(result: Verification, *, verbose: bool = False) -> None:
    """Print tables of networks, modes and ports, what did not pass, a diagnosis, and a summary."""
    # soft_wrap: rich would cut long messages at the width of the terminal, or at 80 in a pipe.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=WIDE)

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            # A message may hold text from a host, such as `[red]`: it is not markup of rich.
            console.print(printable(line), markup=False)

    for name, ends in matrix.ends(result).items():
        if result.sample and len(ends) <= SAMPLED_ROWS:
            console.print(_sampled(result, name, ends))
        else:
            say(matrix.lines(result, name, ends))
    if any(check.check == "mode" for check in result.checks):
        console.print(_modes(result))
    if any(check.check == "port" for check in result.checks):
        console.print(_ports(result))
    say(_failures(result, verbose=verbose))
    say(_skipped(result, verbose=verbose))
    say(result.diagnosis.lines(result.inventory.argument))
    say([summary(result)])


def _failures(result: Verification, *, verbose: bool) -> Iterator[str]:
    """Yield a line for each failure; of one check only the first, and none of a host's silence."""
    silence = {str(error) for error in result.errors}
    failed = [check for check in result.checks if not check.ok and not check.skipped]
    silenced: dict[str, int] = {}
    for name, checks in grouped(failed, lambda check: check.check).items():
        printed = [check for check in checks if verbose or check.detail not in silence]
        for check in printed if verbose else printed[:FAILURES]:
            yield f"{name} {_ends(check)}: FAILED: {check.detail}"
        if not verbose and len(printed) > FAILURES:
            yield f"{name}: FAILED: {len(printed) - FAILURES:,} more (--verbose prints all)"
        if hidden := len(checks) - len(printed):
            silenced[name] = hidden
    if silenced:
        names = ", ".join(f"{name} {number:,}" for name, number in silenced.items())
        yield f"{count(sum(silenced.values()), 'check')} FAILED for lack of an answer: {names}"


def _skipped(result: Verification, *, verbose: bool) -> Iterator[str]:
    """Yield a line for each reason why checks were skipped."""
    skipped = [check for check in result.checks if check.skipped]
    by_reason = grouped(skipped, lambda check: (check.check, check.skipped))
    for (name, reason), checks in by_reason.items():
        if verbose or len(checks) == 1:
            yield from (f"{name} {_ends(check)}: skipped: {reason}" for check in checks)
        else:
            yield f"{name}: {count(len(checks), 'pair')} skipped: {reason}"


def _ends(check: Check) -> str:
    if check.on_host or (check.check in OF_MODE and check.check != "lo"):
        return check.source
    port = f" {check.port}" if check.port else ""
    return f"{check.source} → {check.target}{port}"


def _modes(result: Verification) -> Table:
    table = Table(title="network modes", title_justify="left")
    for header in ("container", "host", "network", "result"):
        table.add_column(header)
    of_mode = (check for check in result.checks if check.check in OF_MODE)
    by_source = grouped(of_mode, lambda check: check.source)
    for container in result.containers:
        if checks := by_source.get(container.name):
            table.add_row(container.name, container.host, container.network, verdict(checks))
    return table


def _ports(result: Verification) -> Table:
    """One row a published port, with the verdict of all its callers and of its DNAT rule."""
    table = Table(title="published ports", title_justify="left")
    for header in ("host", "port", "container", "opened from", "result"):
        table.add_column(header)
    by_port = grouped(result.checks, lambda check: (check.target, check.port))
    for container in result.containers:
        for port in map(str, container.ports):
            checks = by_port.get((container.name, port))
            if checks is None:
                continue  # `-k` has left it out, or the run was interrupted before
            callers = wrap(" ".join(c.source for c in checks if c.check == "port"), CALLERS)
            opened_from = "\n".join(callers)
            table.add_row(container.host, port, container.name, opened_from, verdict(checks))
    return table


def summary(result: Verification) -> str:
    """One line with the numbers of checks that passed, failed and were skipped, and the sample."""
    return " ".join(filter(None, (_numbers(result), _sample(result))))


def _sample(result: Verification) -> str:
    sample = result.sample
    if sample is None:
        return ""
    pairs = f"{sample.chosen:,} of {count(sample.every, 'pair')} of containers"
    return f"Sampled {pairs} by {sample.choice.arguments}; --pairs all checks every pair."


def _numbers(result: Verification) -> str:
    passed = sum(check.ok for check in result.checks)
    skipped = sum(check.skipped is not None for check in result.checks)
    failed = len(result.checks) - passed - skipped
    if result.interrupted:
        head = interruption(result).capitalize()
        return f"{head}: {passed} passed, {failed} failed, {skipped} skipped."
    if not result.checks:
        return "There was nothing to check."
    numbers = f"{count(passed, 'check')} passed, {failed:,} failed, {skipped:,} skipped"
    return f"{numbers} in {result.seconds:.1f} s."


def _sampled(result: Verification, name: str, ends: list[MatrixEnd]) -> Table:
    """One row a source: a matrix of a sample would be nearly empty, and too wide."""
    checked = matrix.checks_of(result, {name: [end.key for end in ends]})
    title = f"network {name}: {', '.join(checked[name])} of sampled pairs"
    table = Table(title=title, title_justify="left")
    for header in ("from", "to", "result"):
        table.add_column(header)
    for row in sampled_rows(result, ends):
        table.add_row(*row)
    return table


def sampled_rows(result: Verification, ends: list[MatrixEnd]) -> Iterator[tuple[str, str, str]]:
    """Yield each source with pairs: its name and host, its targets, and the verdict of all."""
    keys = {end.key for end in ends}
    pairs = (c for c in result.checks if c.end_keys[0] != c.end_keys[1] and of_pair(c))
    pairs = (check for check in pairs if check.end_keys[1] in keys)
    by_source = grouped(pairs, lambda check: check.end_keys[0])
    for source in ends:
        if checks := by_source.get(source.key):
            targets = dict.fromkeys(check.target for check in checks)
            yield f"{source.name} on {source.host}", " ".join(targets), verdict(checks)


def cell(verdicts: PairVerdicts, source: MatrixEnd, target: MatrixEnd) -> str:
    """The text in a table of pairs; empty for a pair without a check."""
    return "·" if source == target else verdicts.get((source.key, target.key), "")


def as_json(result: Verification) -> dict[str, Any]:
    """The shape of `verify --json`."""
    shape: dict[str, Any] = {
        "ok": result.ok,
        "drift": [change_json(change) for change in result.drift],
        "checks": [_json(check) for check in result.checks],
        "seconds": round(result.seconds, 3),
        **interrupted_json(result.interrupted),
    }
    if result.sample:
        shape["pairs"] = _sample_json(result.sample)
    if result.interrupted:
        shape["total"] = result.total
    if result.diagnosis.groups or result.diagnosis.causes:
        shape["diagnosis"] = _diagnosis_json(result.diagnosis)
    if result.errors:
        from provision.engine.report import errors_json

        shape["errors"] = errors_json(result.errors)
    return shape


def _diagnosis_json(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "groups": [
            {
                "text": str(group),
                "pairs": [[pair.source, pair.target] for pair in group.pairs],
                "checks": list(group.checks),
                "hosts": list(group.hosts),
            }
            for group in diagnosis.groups
        ],
        "causes": [
            {
                "host": cause.host,
                "kind": cause.kind,
                "text": cause.text,
                "fix": cause.fix,
                "certain": cause.certain,
            }
            for cause in diagnosis.causes
        ],
    }


def _sample_json(sample: PairSample) -> dict[str, Any]:
    choice = sample.choice
    return {
        "choice": str(choice),
        "seed": choice.seed if choice.others else None,
        "checked": sample.chosen,
        "all": sample.every,
    }


def _json(check: Check) -> dict[str, Any]:
    return {
        "check": check.check,
        "from": check.source,
        "to": check.target,
        "host_ends": list(check.host_ends),
        "port": check.port,
        "ok": check.ok,
        "skipped": check.skipped,
        "detail": check.detail,
    }

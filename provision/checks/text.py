"""The result of a verify as tables and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from provision.checks.gather import segment
from provision.checks.run import PairSample, Verification, interruption
from provision.checks.subjects import Check
from provision.engine.report import change_json, interrupted_json
from provision.model.grouping import grouped
from provision.model.inventory import Container
from provision.model.text import count

WIDE = 100_000
"""Columns for tables: rich cuts names and addresses to `…` at the width of the terminal."""
_OF_MODE = ("mode", "lo", "alone")
PairVerdicts = Mapping[tuple[str, str], str]
"""Verdicts by the names of source and target."""


def show(result: Verification) -> None:
    """Print tables of networks, modes and ports, the checks that did not pass, and a summary."""
    # soft_wrap: rich would cut long messages at the width of the terminal, or at 80 in a pipe.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=WIDE)
    verdicts = pair_verdicts(result)
    for name, containers in segments(result).items():
        if result.sample:
            console.print(_sampled(result, name, containers))
        else:
            console.print(_matrix(result, name, containers, verdicts))
    if any(check.check == "mode" for check in result.checks):
        console.print(_modes(result))
    if any(check.check == "port" for check in result.checks):
        console.print(_ports(result))
    for check in result.checks:
        if not check.ok:
            verdict = f"skipped: {check.skipped}" if check.skipped else f"FAILED: {check.detail}"
            # A message may hold text from a host, such as `[red]`: it is not markup of rich.
            console.print(f"{check.check} {_ends(check)}: {verdict}", markup=False)
    console.print(summary(result))


def _ends(check: Check) -> str:
    if check.on_host or (check.check in _OF_MODE and check.check != "lo"):
        return check.source
    port = f" {check.port}" if check.port else ""
    return f"{check.source} → {check.target}{port}"


def segments(result: Verification) -> dict[str, list[Container]]:
    """Containers by segment; a segment of which no pair was checked is left out."""
    checked = _pair_checks(result)
    members: dict[str, list[Container]] = {}
    for container in result.containers:
        name = segment(result.inventory, container)
        if name in checked:
            members.setdefault(name, []).append(container)
    return members


def _pair_checks(result: Verification) -> dict[str, dict[str, None]]:
    """The names of the checks from one container to another, by segment."""
    names = {c.name: segment(result.inventory, c) for c in result.containers}
    checked: dict[str, dict[str, None]] = {}
    for check in result.checks:
        name = names.get(check.source)
        is_pair = check.source != check.target and _of_pair(check)
        if name and is_pair and name == names.get(check.target):
            checked.setdefault(name, {})[check.check] = None
    return checked


def _modes(result: Verification) -> Table:
    table = Table(title="network modes", title_justify="left")
    for header in ("container", "host", "network", "result"):
        table.add_column(header)
    of_mode = (check for check in result.checks if check.check in _OF_MODE)
    by_source = grouped(of_mode, lambda check: check.source)
    for container in result.containers:
        checks = by_source.get(container.name, [])
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
            checks = by_port.get((container.name, port), [])
            callers = " ".join(c.source for c in checks if c.check == "port")
            table.add_row(container.host, port, container.name, callers, verdict(checks))
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
    numbers = f"{count(passed, 'check')} passed, {failed} failed, {skipped} skipped"
    return f"{numbers} in {result.seconds:.1f} s."


def _matrix(
    result: Verification, name: str, containers: list[Container], verdicts: PairVerdicts
) -> Table:
    kinds = ", ".join(_pair_checks(result)[name])
    title = f"network {name}: {kinds} from (row) to (column)"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for container in containers:
        table.add_column(f"{container.name}\n{container.host}")
    for source in containers:
        cells = [cell(verdicts, source.name, target.name) for target in containers]
        table.add_row(f"{source.name} on {source.host}", *cells)
    return table


def _sampled(result: Verification, name: str, containers: list[Container]) -> Table:
    """One row a source: a matrix of a sample would be nearly empty, and too wide."""
    title = f"network {name}: {', '.join(_pair_checks(result)[name])} of sampled pairs"
    table = Table(title=title, title_justify="left")
    for header in ("from", "to", "result"):
        table.add_column(header)
    for row in sampled_rows(result, containers):
        table.add_row(*row)
    return table


def sampled_rows(
    result: Verification, containers: list[Container]
) -> Iterator[tuple[str, str, str]]:
    """Yield each source with pairs: its name and host, its targets, and the verdict of all."""
    names = {container.name for container in containers}
    pairs = (c for c in result.checks if c.source != c.target and _of_pair(c))
    by_source = grouped((c for c in pairs if c.target in names), lambda check: check.source)
    for source in containers:
        if checks := by_source.get(source.name):
            targets = dict.fromkeys(check.target for check in checks)
            yield f"{source.name} on {source.host}", " ".join(targets), verdict(checks)


def _of_pair(check: Check) -> bool:
    return not check.on_host and check.check not in _OF_MODE and check.port is None


def pair_verdicts(result: Verification) -> PairVerdicts:
    """The verdict of the checks from one container to another, by their names."""
    pairs = grouped(filter(_of_pair, result.checks), lambda check: (check.source, check.target))
    return {ends: verdict(checks) for ends, checks in pairs.items()}


def cell(verdicts: PairVerdicts, source: str, target: str) -> str:
    """The text in a table of pairs; empty for a pair without a check."""
    return "·" if source == target else verdicts.get((source, target), "")


def verdict(checks: list[Check]) -> str:
    """`ok`, or the names of failed or skipped checks; empty without any check."""
    failed = dict.fromkeys(c.check for c in checks if not c.ok and not c.skipped)
    if failed:
        return "FAILED " + " ".join(failed)
    skipped = dict.fromkeys(c.check for c in checks if c.skipped)
    if skipped:
        return "skipped " + " ".join(skipped)
    return "ok" if checks else ""


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
    if result.errors:
        from provision.engine.report import errors_json

        shape["errors"] = errors_json(result.errors)
    return shape


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
        "port": check.port,
        "ok": check.ok,
        "skipped": check.skipped,
        "detail": check.detail,
    }

"""A verification → a matrix for people, and JSON."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from provision.checks.run import Check, Verification
from provision.report import change_json


def show(result: Verification) -> None:
    """Print the matrices of all networks, what failed and a summary."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    for network in dict.fromkeys(container.network for container in result.containers):
        console.print(_matrix(result, network))
    for check in result.checks:
        if not check.ok:
            verdict = f"skipped: {check.skipped}" if check.skipped else f"FAILED: {check.detail}"
            where = check.source if check.check == "drift" else f"{check.source} → {check.target}"
            console.print(f"{check.check} {where}: {verdict}", markup=False)
    console.print(summary(result))


def summary(result: Verification) -> str:
    """One line: how many checks passed, failed and were skipped."""
    passed = sum(check.ok for check in result.checks)
    skipped = sum(check.skipped is not None for check in result.checks)
    failed = len(result.checks) - passed - skipped
    words = f"{passed} checks passed, {failed} failed, {skipped} skipped in {result.seconds:.1f} s."
    return words if result.checks else "There was nothing to check."


def _matrix(result: Verification, network: str) -> Table:
    mine = [container for container in result.containers if container.network == network]
    mine_names = {container.name for container in mine}
    kinds = dict.fromkeys(c.check for c in result.checks if c.source in mine_names)
    title = f"network {network}: {', '.join(kinds)} from (row) to (column)"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for container in mine:
        table.add_column(f"{container.name}\n{container.host}")
    for source in mine:
        cells = [cell(result, source.name, target.name) for target in mine]
        table.add_row(f"{source.name} on {source.host}", *cells)
    return table


def cell(result: Verification, source: str, target: str) -> str:
    """What the checks from one container to another said, in a word or two."""
    if source == target:
        return "·"
    pair = [c for c in result.checks if (c.source, c.target) == (source, target)]
    failed = [check.check for check in pair if not check.ok and not check.skipped]
    if failed:
        return "FAILED " + " ".join(failed)
    skipped = [check.check for check in pair if check.skipped]
    if skipped:
        return "skipped " + " ".join(skipped)
    return "ok" if pair else ""


def as_json(result: Verification) -> dict[str, Any]:
    """The shape of `verify --json`."""
    shape: dict[str, Any] = {
        "ok": result.ok,
        "drift": [change_json(change) for change in result.drift],
        "checks": [_json(check) for check in result.checks],
        "seconds": round(result.seconds, 3),
    }
    if result.errors:
        from provision.report import errors_json

        shape["errors"] = errors_json(result.errors)
    return shape


def _json(check: Check) -> dict[str, Any]:
    return {
        "check": check.check,
        "from": check.source,
        "to": check.target,
        "ok": check.ok,
        "skipped": check.skipped,
        "detail": check.detail,
    }

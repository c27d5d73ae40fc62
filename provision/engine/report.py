"""The results of a run as values, and their text and JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from provision.engine.change_fields import differing_rows, secret_differences, sides
from provision.engine.conflict_hints import hints
from provision.engine.outcome import UNCHANGED, UNREACHABLE, Outcome, OutcomeKind
from provision.engine.plan import Change, Conflict
from provision.engine.status import describe_all
from provision.model.errors import (
    ChangedError,
    ExitStatus,
    HostError,
    InventoryError,
    ProvisionError,
    StepError,
    UnfitError,
)
from provision.model.text import count
from provision.resources.rows import differences, row_fields

SIGNS = {"create": "+", "update": "~", "replace": "±", "delete": "-"}


class ChangeStatus(StrEnum):
    """The status of a change in a run; UNKNOWN: its host was lost while it made it."""

    PLANNED = ""
    DONE = "done"
    FAILED = "failed"
    NOT_RUN = "not run"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """A change, its status, and the seconds it took; `note`: what its steps reported.

    A replacement has two results; `removes`: the one of its first half.
    """

    change: Change
    status: ChangeStatus = ChangeStatus.PLANNED
    seconds: float = 0.0
    note: str = ""
    removes: bool = False

    @property
    def half(self) -> str:
        """`remove` or `create` for a replacement that was begun, else empty."""
        if self.change.verb != "replace" or self.status is ChangeStatus.PLANNED:
            return ""
        return "remove" if self.removes else "create"


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one run over `hosts`; `ended`: outcomes of hosts where a change was begun.

    `warnings`: what a plan means beyond its changes, as text.
    """

    hosts: tuple[str, ...]
    results: tuple[ChangeResult, ...]
    conflicts: tuple[Conflict, ...]
    errors: tuple[HostError, ...]
    ended: Mapping[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each host."""
        return {host: self._outcome(host) for host in self.hosts}

    def _outcome(self, host: str) -> Outcome:
        if host in self.ended:
            return self.ended[host]
        # These errors come from a host that answered.
        answered = (StepError, ChangedError, UnfitError)
        lost = any(error.host == host and not isinstance(error, answered) for error in self.errors)
        return UNREACHABLE if lost else UNCHANGED

    @property
    def exit_status(self) -> ExitStatus:
        """The worst over all hosts."""
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        kinds = {outcome.kind for outcome in self.outcomes.values()}
        if self._is_mixed(kinds):
            return ExitStatus.MIXED
        if OutcomeKind.REVERTED in kinds:
            return ExitStatus.REVERTED
        return max((error.exit_status for error in self.errors), default=ExitStatus.OK)

    def _is_mixed(self, kinds: set[OutcomeKind]) -> bool:
        """Return True if hosts ended in different states, or one host's state is unknown."""
        kept = kinds & {OutcomeKind.CONFIRMED, OutcomeKind.PENDING}
        return (
            OutcomeKind.UNKNOWN in kinds
            or (bool(self.errors) and OutcomeKind.PENDING in kinds)
            or len(kinds & {*kept, OutcomeKind.REVERTED}) > 1
            or (bool(kept) and OutcomeKind.UNREACHABLE in kinds)
        )


def plan_lines(report: Report, *, show_secrets: bool = False) -> Iterator[str]:
    """The plan as text: by host, a line for each change, and its fields below."""
    changes: dict[str, list[Change]] = {host: [] for host in report.hosts}
    for result in report.results:
        changes.setdefault(result.change.ref.host, []).append(result.change)
    for host in report.hosts:
        if changes[host]:
            yield f"{host}:"
        for change in changes[host]:
            yield from _change_lines(change, show_secrets=show_secrets)
    for conflict in report.conflicts:
        yield f"{conflict.ref.host}: conflict: {conflict.message}"
    yield from (f"  → {hint}" for hint in hints(report.conflicts))
    yield from (f"warning: {warning}" for warning in report.warnings)
    yield summary(report)


def _change_lines(change: Change, *, show_secrets: bool) -> Iterator[str]:
    yield f"  {SIGNS[change.verb]} {change.verb} {change.ref.kind} {change.ref.name}"
    yield from (f"      {line}" for line in _field_lines(change, show_secrets=show_secrets))
    if change.disruption:
        yield f"      ! {change.disruption}"


_OMITTED = ("host", "mark", "inventory")
"""Fields that are the same for every resource of a host."""


def _field_lines(change: Change, *, show_secrets: bool) -> Iterator[str]:
    """The fields of a new resource, or those that differ; not the ones that repeat its name."""
    before, after = sides(change, show_secrets=show_secrets)
    secret = dict(secret_differences(change, show_secrets=show_secrets))
    rows = row_fields(change.after) if change.after else frozenset()
    for key, new in (after or {}).items():
        if key in secret:
            yield from _joined(f"{key}: ", secret[key]) if secret[key] else ()
        elif key in rows:
            yield from _joined(f"{key}: ", lines) if (lines := _row_lines(change, key)) else ()
        elif before is not None:
            old = before.get(key)
            if old != new:
                yield from _joined(f"{key}: ", _lines(old), " → ", _lines(new))
        elif key not in _OMITTED and new not in (None, [], "", True, change.ref.name):
            yield from _joined(f"{key}: ", _lines(new))


def _row_lines(change: Change, key: str) -> list[str]:
    """The rows of a new table, or those that differ, each with the sign of its verb."""
    after = getattr(change.after, key)
    if change.before is None:
        return [str(row) for row in after]
    changes = differences(getattr(change.before, key), after)
    return [f"{SIGNS[row.verb]} {row}" for row in changes]


def _lines(field_value: object) -> list[str]:
    """The lines of a field; a list of lists has a line for each entry."""
    if isinstance(field_value, list):
        nested = any(isinstance(entry, list) for entry in field_value)
        lines = [" ".join(_lines(entry)) for entry in field_value]
        return (lines if nested else [" ".join(lines)]) if lines else ["none"]
    text = "none" if field_value in (None, "") else str(field_value)
    return [f"({count(len(text.splitlines()), 'line')})" if "\n" in text else text]


def _joined(*parts: str | list[str]) -> Iterator[str]:
    """The parts on one line, or each part on lines of its own where one has several."""
    if all(isinstance(part, str) or len(part) < 2 for part in parts):
        yield "".join(part if isinstance(part, str) else "".join(part) for part in parts)
        return
    for part in parts:
        yield from [part.strip()] if isinstance(part, str) else (f"  {line}" for line in part)


def summary(report: Report) -> str:
    """One line: the number of changes and of hosts."""
    if not report.results:
        return "No change." if not report.errors else "Nothing was changed."
    counts = dict.fromkeys(SIGNS, 0)
    for change in {result.change.ref: result.change for result in report.results}.values():
        counts[change.verb] += 1
    verbs = ", ".join(f"{number} to {verb}" for verb, number in counts.items() if number)
    hosts = {result.change.ref.host for result in report.results}
    return f"{verbs} on {count(len(hosts), 'host')}."


def result_lines(report: Report) -> Iterator[str]:
    """The results as text: a line for each change, and the outcome of each host."""
    for result in report.results:
        ref = result.change.ref
        note = f" ({result.note})" if result.note else ""
        verb = f"{result.change.verb} ({result.half})" if result.half else result.change.verb
        yield f"{ref.host}: {result.status}: {verb} {ref.kind} {ref.name}{note}"
    if not (report.results or report.errors or report.ended or report.interrupted):
        yield "No change."
        return
    outcomes = describe_all(report.outcomes)
    width = max((len(host) for host in outcomes), default=0)
    for host, outcome in outcomes.items():
        yield f"{host:<{width}}  {outcome}"
    counts = Counter(outcomes.values())
    text = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) + "."
    yield f"Interrupted: {text}" if report.interrupted else text


def plan_json(report: Report, *, show_secrets: bool = False) -> dict[str, Any]:
    """The shape of `plan --json`."""
    return {
        "hosts": len(report.hosts),
        "changes": [
            change_json(result.change, show_secrets=show_secrets) for result in report.results
        ],
        # The key `found` is older than the name `message`; scripts read it.
        "conflicts": [
            {**conflict.ref._asdict(), "found": conflict.message, "hint": conflict.hint}
            for conflict in report.conflicts
        ],
        "warnings": list(report.warnings),
    }


def result_json(report: Report, *, show_secrets: bool = False) -> dict[str, Any]:
    """The shape of `apply --json` and `destroy --json`."""
    changes = [
        {
            **change_json(result.change, show_secrets=show_secrets),
            "status": result.status,
            "seconds": round(result.seconds, 3),
            "note": result.note,
            **({"half": result.half} if result.half else {}),
        }
        for result in report.results
    ]
    shape = {**plan_json(report), "changes": changes, "hosts": describe_all(report.outcomes)}
    return shape | interrupted_json(report.interrupted)


def interrupted_json(interrupted: bool) -> dict[str, bool]:
    """The key that the JSON of an interrupted command has, and no other."""
    return {"interrupted": True} if interrupted else {}


def change_json(change: Change, *, show_secrets: bool = False) -> dict[str, Any]:
    """One change as JSON."""
    before, after = sides(change, show_secrets=show_secrets)
    rows = differing_rows(change)
    return {
        **change.ref._asdict(),
        "verb": change.verb,
        "before": before,
        "after": after,
        "disruption": change.disruption,
        **({"rows": rows} if rows else {}),
    }


def errors_json(errors: Iterable[ProvisionError]) -> list[dict[str, Any]]:
    """The shape of `errors` under `--json`."""
    return [entry for error in errors for entry in _error_json(error)]


def _error_json(error: ProvisionError) -> Iterator[dict[str, Any]]:
    blank: dict[str, Any] = {"file": None, "line": None, "column": None, "host": None}
    if isinstance(error, InventoryError):
        for finding in error.findings:
            position = finding.position
            location = {
                "file": str(position.path),
                "line": position.line,
                "column": position.column,
            }
            text = {"kind": error.kind, "message": finding.message, "hint": finding.hint}
            yield {**blank, **text, **location}
    else:
        host = getattr(error, "host", None)
        text = {"kind": error.kind, "message": error.message, "hint": error.hint}
        yield {**blank, **text, "host": host}

"""What a run found and did → text and JSON. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from provision.resources.base import Resource

SIGNS = {"create": "+", "update": "~", "replace": "±", "delete": "-"}


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """A change, and what became of it: "" (only planned), done, failed, not run, unknown.

    `note` is what its steps say of themselves.
    """

    change: Change
    status: str = ""
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one run over `hosts`; `ended`: outcomes of hosts where a change was begun."""

    hosts: tuple[str, ...]
    done: tuple[ChangeResult, ...]
    conflicts: tuple[Conflict, ...]
    errors: tuple[HostError, ...]
    ended: Mapping[str, Outcome] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each host."""
        return {host: self._outcome(host) for host in self.hosts}

    def _outcome(self, host: str) -> Outcome:
        if host in self.ended:
            return self.ended[host]
        other = (StepError, ChangedError, UnfitError)
        lost = any(error.host == host and not isinstance(error, other) for error in self.errors)
        return UNREACHABLE if lost else UNCHANGED

    @property
    def exit_status(self) -> ExitStatus:
        """The worst over all hosts."""
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        if self._is_mixed:
            return ExitStatus.MIXED
        if any(outcome.kind is OutcomeKind.REVERTED for outcome in self.ended.values()):
            return ExitStatus.REVERTED
        return max((error.exit_status for error in self.errors), default=ExitStatus.OK)

    @property
    def _is_mixed(self) -> bool:
        """True if hosts ended in different states, or the state of one is unknown."""
        kinds = {outcome.kind for outcome in self.outcomes.values()}
        kept = kinds & {OutcomeKind.CONFIRMED, OutcomeKind.PENDING}
        return (
            OutcomeKind.UNKNOWN in kinds
            or (bool(self.errors) and OutcomeKind.PENDING in kinds)
            or len(kinds & {*kept, OutcomeKind.REVERTED}) > 1
            or (bool(kept) and OutcomeKind.UNREACHABLE in kinds)
        )


def plan_lines(report: Report) -> Iterator[str]:
    """The plan, a line for each change, by host."""
    for host in report.hosts:
        mine = [done.change for done in report.done if done.change.ref.host == host]
        if mine:
            yield f"{host}:"
        for change in mine:
            yield f"  {SIGNS[change.verb]} {change.verb} {change.ref.kind} {change.ref.name}"
            yield from (f"      {line}" for line in _fields(change))
            if change.disruption:
                yield f"      ! {change.disruption}"
    for conflict in report.conflicts:
        yield f"{conflict.ref.host}: conflict: {conflict.message}"
    yield summary(report)


def _fields(change: Change) -> Iterator[str]:
    """What is asked for, or what differs; a field that only repeats the name says nothing."""
    before, after = _json(change.before), _json(change.after)
    for key, value in (after or {}).items():
        if before is not None:
            old = before.get(key)
            if old != value:
                yield from _lines(f"{key}: ", _short(old), " → ", _short(value))
        elif key not in _UNSAID and value not in (None, [], "", True, change.ref.name):
            yield from _lines(f"{key}: ", _short(value))


_UNSAID = ("host", "mark", "inventory")


def _short(value: object) -> list[str]:
    """A value in lines of its own."""
    if isinstance(value, list):
        nested = any(isinstance(item, list) for item in value)
        lines = [" ".join(_short(item)) for item in value]
        return (lines if nested else [" ".join(lines)]) if lines else ["none"]
    text = "none" if value in (None, "") else str(value)
    return [f"({len(text.splitlines())} lines)" if "\n" in text else text]


def _lines(*parts: str | list[str]) -> Iterator[str]:
    if all(isinstance(part, str) or len(part) < 2 for part in parts):
        yield "".join(part if isinstance(part, str) else "".join(part) for part in parts)
        return
    for part in parts:
        yield from [part.strip()] if isinstance(part, str) else (f"  {line}" for line in part)


def summary(report: Report) -> str:
    """One line: how many changes on how many hosts."""
    if not report.done:
        return "No change." if not report.errors else "Nothing was changed."
    counts = dict.fromkeys(SIGNS, 0)
    for change in {done.change.ref: done.change for done in report.done}.values():
        counts[change.verb] += 1
    what = ", ".join(f"{count} to {verb}" for verb, count in counts.items() if count)
    hosts = len({done.change.ref.host for done in report.done})
    return f"{what} on {hosts} host{'s' * (hosts != 1)}."


def done_lines(report: Report) -> Iterator[str]:
    """What was done, a line for each change, and the state of each host."""
    for done in report.done:
        ref = done.change.ref
        note = f" ({done.note})" if done.note else ""
        yield f"{ref.host}: {done.status}: {done.change.verb} {ref.kind} {ref.name}{note}"
    if not report.done and not report.errors and not report.ended:
        yield "No change."
        return
    states = describe_all(report.outcomes)
    width = max((len(host) for host in states), default=0)
    for host, state in states.items():
        yield f"{host:<{width}}  {state}"
    counts = {state: list(states.values()).count(state) for state in states.values()}
    yield ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) + "."


def plan_json(report: Report) -> dict[str, Any]:
    """The shape of `plan --json`."""
    return {
        "hosts": len(report.hosts),
        "changes": [change_json(done.change) for done in report.done],
        "conflicts": [
            {**conflict.ref._asdict(), "found": conflict.message} for conflict in report.conflicts
        ],
    }


def done_json(report: Report) -> dict[str, Any]:
    """The shape of `apply --json` and `destroy --json`."""
    changes = [
        {
            **change_json(done.change),
            "status": done.status,
            "seconds": round(done.seconds, 3),
            "note": done.note,
        }
        for done in report.done
    ]
    return {**plan_json(report), "changes": changes, "hosts": describe_all(report.outcomes)}


def change_json(change: Change) -> dict[str, Any]:
    """One change as JSON."""
    return {
        **change.ref._asdict(),
        "verb": change.verb,
        "before": _json(change.before),
        "after": _json(change.after),
        "disruption": change.disruption,
    }


def _json(resource: Resource | None) -> dict[str, Any] | None:
    if resource is None:
        return None
    fields = dataclasses.fields(resource)
    return {field.name: _plain(getattr(resource, field.name)) for field in fields if field.compare}


def _plain(value: object) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def errors_json(errors: Iterable[ProvisionError]) -> list[dict[str, Any]]:
    """The shape of `errors` under `--json`."""
    return [entry for error in errors for entry in _error_json(error)]


def _error_json(error: ProvisionError) -> Iterator[dict[str, Any]]:
    blank: dict[str, Any] = {"file": None, "line": None, "column": None, "host": None}
    if isinstance(error, InventoryError):
        for finding in error.findings:
            at = finding.position
            position = {"file": str(at.path), "line": at.line, "column": at.column}
            words = {"kind": error.kind, "message": finding.message, "hint": finding.hint}
            yield {**blank, **words, **position}
    else:
        host = getattr(error, "host", None)
        words = {"kind": error.kind, "message": error.message, "hint": error.hint}
        yield {**blank, **words, "host": host}

"""The results of a run as values, and their text and JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from provision.engine.change_fields import differing_rows, sides
from provision.engine.outcome import UNCHANGED, UNREACHABLE, Outcome, OutcomeKind
from provision.engine.plan import Change, Conflict
from provision.engine.status import describe_all
from provision.model.errors import (
    ChangedError,
    ExitStatus,
    HostConflictError,
    HostError,
    InventoryError,
    LockedError,
    ProvisionError,
    StepError,
    UnfitError,
)
from provision.model.text import count

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
        answered = (StepError, ChangedError, UnfitError, LockedError, HostConflictError)
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
            or (bool(kept) and (OutcomeKind.UNREACHABLE in kinds or self._has_refused_host()))
        )

    def _has_refused_host(self) -> bool:
        """Return True if a host that answers was left as it was, because of an error."""
        unchanged = {host for host, outcome in self.outcomes.items() if outcome == UNCHANGED}
        return any(error.host in unchanged for error in self.errors)


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

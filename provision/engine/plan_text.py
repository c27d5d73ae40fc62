"""The text of a plan: by host, a line for each change, and its fields below. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.engine.change_fields import secret_differences, sides
from provision.engine.conflict_hints import hints
from provision.engine.plan import Change
from provision.engine.report import SIGNS, Report, summary
from provision.model.text import count
from provision.resources.rows import differences, row_fields


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
            old, new = _differing(before.get(key), new)
            if old != new:
                yield from _joined(f"{key}: ", _lines(old), " → ", _lines(new))
        elif key not in _OMITTED and new not in (None, [], "", True, change.ref.name):
            yield from _joined(f"{key}: ", _lines(new))


def _differing(old: object, new: object) -> tuple[object, object]:
    """Two fields; of two lists of options, only those of another value."""
    if not (_are_options(old) and _are_options(new)):
        return old, new
    assert isinstance(old, list)
    assert isinstance(new, list)
    return [pair for pair in old if pair not in new], [pair for pair in new if pair not in old]


def _are_options(field_value: object) -> bool:
    """True for a list of pairs, each with a name of its own."""
    if not (isinstance(field_value, list) and field_value):
        return False
    pairs = all(isinstance(entry, list) and len(entry) == 2 for entry in field_value)
    return pairs and len({str(entry[0]) for entry in field_value}) == len(field_value)


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

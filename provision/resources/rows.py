"""Rows of a resource that is a table, such as the routes of a network, and how two tables differ.

A table is one resource: a host has one claim, one step and one line of a plan for all rows. Its
steps change only the rows that differ, and a plan names only these. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from provision.resources.base import Resource

ROWS = {"rows": True}
"""Metadata of a field that holds the rows of a table, as a tuple of `TableRow`."""


class TableRow(Protocol):
    """A row of a table."""

    @property
    def key(self) -> str:
        """The identity of the row in its table, such as the destination of a route."""

    @property
    def value(self) -> str:
        """The rest of the row, such as the gateway of a route; empty if the key is all of it."""


class RowChange(NamedTuple):
    """A row that differs: `before` is None for a new row, `after` for one that goes."""

    key: str
    before: str | None
    after: str | None

    @property
    def verb(self) -> str:
        """The verb of a change of this one row."""
        if self.before is None:
            return "create"
        return "delete" if self.after is None else "update"

    def __str__(self) -> str:
        texts = [text for text in (self.before, self.after) if text is not None]
        return f"{self.key} {' → '.join(texts)}".strip()


def row_fields(resource: Resource) -> frozenset[str]:
    """The names of the fields that hold rows."""
    return _row_fields(type(resource))


_known: dict[type, frozenset[str]] = {}


def _row_fields(kind: Any) -> frozenset[str]:
    if kind not in _known:
        fields = dataclasses.fields(kind)
        _known[kind] = frozenset(field.name for field in fields if field.metadata == ROWS)
    return _known[kind]


def differences(before: tuple[TableRow, ...], after: tuple[TableRow, ...]) -> Iterator[RowChange]:
    """Yield the rows that differ, sorted by the order of the tables."""
    old = {row.key: row for row in before}
    new = {row.key: row for row in after}
    for key, row in old.items():
        if key not in new:
            yield RowChange(key, row.value, None)
    for key, row in new.items():
        if old.get(key) != row:
            yield RowChange(key, old[key].value if key in old else None, row.value)


SHOWN = 5
"""Rows that `row_summary` names; more would make a line that nobody reads."""


def row_summary(before: Resource | None, after: Resource | None) -> str:
    """The rows that differ, as text for the end of a line; empty: none, or not an update."""
    changes = row_changes(before, after)
    if not changes:
        return ""
    more = [f"{len(changes) - SHOWN} more"] if len(changes) > SHOWN else []
    return f" ({', '.join((*map(str, changes[:SHOWN]), *more))})"


def row_changes(before: Resource | None, after: Resource | None) -> list[RowChange]:
    """The rows that differ between two states of a resource, in all its tables."""
    if before is None or after is None:
        return []
    return [
        change
        for name in sorted(row_fields(after))
        if getattr(before, name) != getattr(after, name)
        for change in differences(getattr(before, name), getattr(after, name))
    ]

"""The compared fields of a change, for its text and its JSON; values of secrets are hidden. Pure.

The variables of a container may hold passwords, and a plan ends up in logs and in chats.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from provision.engine.plan import Change
from provision.resources.base import Resource, secret_fields
from provision.resources.rows import row_changes, row_fields

Fields = dict[str, Any]
HIDDEN, DIFFERS, REMOVED = "(hidden)", "(hidden, differs)", "(removed)"


def sides(change: Change, *, show_secrets: bool) -> tuple[Fields | None, Fields | None]:
    """The fields before and after, as JSON has them."""
    before, after = _fields(change.before), _fields(change.after)
    for key in () if show_secrets else _secret_keys(change):
        old, new = dict(before[key] if before else ()), dict(after[key] if after else ())
        if before:
            before[key] = [[name, HIDDEN] for name in old]
        if after:
            after[key] = [[name, _hidden(old.get(name), text)] for name, text in new.items()]
    return before, after


def secret_differences(
    change: Change, *, show_secrets: bool = False
) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each field with secrets, and its entries that differ: `NAME=(hidden)`."""
    describe = _shown if show_secrets else _hidden
    for key in _secret_keys(change):
        old, new = dict(getattr(change.before, key, ())), dict(getattr(change.after, key, ()))
        differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        yield key, [f"{name}={describe(old.get(name), new.get(name))}" for name in differing]


def hidden_values(change: Change) -> list[Any]:
    """The pairs of names and values that plans hide, before and after."""
    sides = [
        getattr(side, key, ())
        for key in _secret_keys(change)
        for side in (change.before, change.after)
    ]
    return sides if any(sides) else []


def _secret_keys(change: Change) -> list[str]:
    resource = change.after or change.before
    assert resource is not None
    return secret_fields(type(resource))


def _hidden(old: str | None, new: str | None) -> str:
    if new is None:
        return REMOVED
    return HIDDEN if old in (None, new) else DIFFERS


def _shown(old: str | None, new: str | None) -> str:
    texts = [text for text in (old, REMOVED if new is None else new) if text is not None]
    # As in YAML, so that a value with several lines stays on one.
    return " → ".join(text if text.isprintable() and text else json.dumps(text) for text in texts)


def _fields(resource: Resource | None) -> Fields | None:
    if resource is None:
        return None
    fields = dataclasses.fields(resource)
    rows = row_fields(resource)
    return {
        field.name: (
            [str(row) for row in getattr(resource, field.name)]
            if field.name in rows
            else _plain(getattr(resource, field.name))
        )
        for field in fields
        if field.compare
    }


def differing_rows(change: Change) -> list[dict[str, str | None]]:
    """The rows of a table that an update changes, as JSON has them."""
    if change.verb != "update":
        return []
    return [
        {"name": row.key, "verb": row.verb, "before": row.before, "after": row.after}
        for row in row_changes(change.before, change.after)
    ]


def _plain(field_value: object) -> Any:
    if isinstance(field_value, tuple):
        return [_plain(entry) for entry in field_value]
    if field_value is None or isinstance(field_value, (bool, int, str)):
        return field_value
    return str(field_value)

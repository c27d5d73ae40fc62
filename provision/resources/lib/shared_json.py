"""JSON that several kinds of one snapshot read, decoded once. Pure.

A table of 1,000 routes takes milliseconds to decode, and five kinds and the facts of the host read
it. The hosts of a fleet have nearly the same routes: an entry that any host has printed before is
not decoded again, nor is what a reader makes of it. Nobody may change the values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")
_ROUTES = ('[{"dst":', '[{"type":')
"""How a table of routes begins."""

_decoded: ContextVar[dict[str, Any] | None] = ContextVar("decoded", default=None)


class TableEntry(dict[str, Any]):
    """An object of a table; `made` is what readers have made of it."""

    __slots__ = ("made",)

    def __init__(self, value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.made: dict[Callable[[Mapping[str, Any]], Any], Any] = {}


@contextmanager
def one_snapshot() -> Iterator[None]:
    """Remember what `decode` has decoded until the end of the block."""
    token = _decoded.set({})
    try:
        yield
    finally:
        _decoded.reset(token)


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError."""
    known = _decoded.get()
    if known is None:
        return _value(text)
    if text not in known:
        known[text] = _value(text)
    return known[text]


def made(entry: Mapping[str, Any], make: Callable[[Mapping[str, Any]], T]) -> T:
    """What `make` makes of an entry of `decode`, once for all hosts that have printed it."""
    if not isinstance(entry, TableEntry):
        return make(entry)
    values = entry.made
    if make not in values:
        values[make] = make(entry)
    value: T = values[make]
    return value


def _value(text: str) -> Any:
    """A JSON value: of a table of routes, as `ip` prints it, each entry by its own text.

    Where an entry has objects, or a text has such braces, the parts are no JSON: then all is
    decoded at once. Other tables have hardly an entry that two hosts share.
    """
    if text.startswith(_ROUTES) and text.endswith("}]"):
        try:
            return list(map(_entry, text[2:-2].split("},{")))
        except ValueError:
            pass
    return json.loads(text)


@lru_cache(1 << 16)
def _entry(text: str) -> TableEntry:
    return TableEntry(json.loads(f"{{{text}}}"))

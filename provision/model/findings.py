"""What is wrong at which node of an inventory, before it has a line. Pure.

`decode` gives complaints their line and column, by the path of keys that leads to the node.
"""

from __future__ import annotations

from dataclasses import dataclass

Loc = tuple[str | int, ...]
KEY = "[key]"  # ends a path that means the key itself; pydantic's own mark
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Complaint:
    """One finding at a path of keys and indexes, such as ("hosts", "h1", "address")."""

    loc: Loc
    message: str
    hint: str = ""


class Wrong(ValueError):
    """A single value breaks a rule; the place is known to whoever asked."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def quoted(value: object) -> str:
    """A value for a message: one line, no control characters, not too long."""
    text = value if isinstance(value, str) else _written(value)
    return f"'{line(text, _LONGEST)}'"


def line(text: str, longest: int = 1000) -> str:
    """Text without control characters and not too long."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _written(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def count(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(words: tuple[str, ...], limit: int = 8) -> str:
    """The first few words of a list, for a message."""
    rest = len(words) - limit
    listed = ", ".join(quoted(word)[1:-1] for word in words[:limit])
    return listed + (f" and {rest} more" if rest > 0 else "")

"""Values and lists as error messages show them. Pure."""

from __future__ import annotations

_LONGEST = 60


def quoted(value: object) -> str:
    """A value in quotes: one line, no control characters, at most 60 characters."""
    text = value if isinstance(value, str) else _as_yaml(value)
    return f"'{single_line(text, _LONGEST)}'"


def single_line(text: str, longest: int = 1000) -> str:
    """Escape control characters, and cut after `longest` characters."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _as_yaml(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def is_number(text: str, longest: int = 18) -> bool:
    """True for digits that `int` takes: not ² or thousands of them, which it refuses."""
    return text.isascii() and text.isdigit() and len(text) <= longest


def count(number: int, noun: str) -> str:
    """`1 host`, `2 hosts`, `0 addresses`: each message that counts things is made by this."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}{ending}"


def listed(names: tuple[str, ...], limit: int = 8, longest: int = _LONGEST) -> str:
    """The first names, each cut after `longest` characters, and how many more there are."""
    rest = len(names) - limit
    shown = ", ".join(single_line(name, longest) for name in names[:limit])
    return shown + (f" and {rest} more" if rest > 0 else "")

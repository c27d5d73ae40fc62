"""Files with variables, in the format of Compose's `env_file` and `.env`. Pure.

https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/. No message
has a part of a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from provision.model.fields.interpolation import Lookup, interpolate
from provision.model.findings import BadValueError

_ASSIGNMENT = re.compile(
    r"[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z0-9_.\-\[\]]+)[ \t]*(?P<sign>[=:]?)[ \t]*"
)
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\([abfnrtv\"\\$])")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NO_ASSIGNMENT = ("this line is not NAME=VALUE", "write it like COLOUR=blue")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")


class LineError(BadValueError):
    """A line of a file is wrong; `line` counts from 1."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.line = line


def variables(text: str, lookup: Lookup) -> dict[str, str]:
    """The variables of a file. Raises LineError.

    A variable in a value is one of the lines before, else one that `lookup` has.
    """
    values: dict[str, str] = {}

    def find(name: str) -> str | None:
        return values[name] if name in values else lookup(name)

    return _collect(text, values, lookup, find)


def later_variables(text: str, lookup: Lookup, earlier: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file that belongs to a Compose file. Raises LineError.

    A variable in a value is one that `lookup` has, else one of the lines before, else one of
    `earlier`, which are those of the files before. Compose has this order.
    """
    values: dict[str, str] = {}

    def find(name: str) -> str | None:
        value = lookup(name)
        return values.get(name, earlier.get(name)) if value is None else value

    return _collect(text, values, lookup, find)


def _collect(text: str, values: dict[str, str], lookup: Lookup, find: Lookup) -> dict[str, str]:
    """Add the variables of all lines; `find` may use those that are added already."""
    for name, value in _assignments(text.replace("\r\n", "\n"), lookup, find):
        if value is not None:
            values[name] = value
    return values


def _assignments(text: str, lookup: Lookup, find: Lookup) -> Iterator[tuple[str, str | None]]:
    """Yield the names and values of all lines; None: the line has a name alone, without value."""
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        match = _ASSIGNMENT.match(text, position)
        if match is None:
            raise LineError(line, *_NO_ASSIGNMENT)
        if not match["sign"]:
            if not (end := _BLANK.match(text, match.end())):
                raise LineError(line, *_NO_ASSIGNMENT)
            position = end.end()
            yield match["name"], lookup(match["name"])
            continue
        try:
            value, position = _value(text, match.end(), find)
        except BadValueError as error:
            raise LineError(line, error.message, error.hint) from None
        yield match["name"], value


def _value(text: str, start: int, find: Lookup) -> tuple[str, int]:
    """The value that begins at `start`, and the position of the next line."""
    for pattern in (_SINGLE, _DOUBLE):
        if match := pattern.match(text, start):
            end = _BLANK.match(text, match.end())
            if end is None:
                raise BadValueError("text follows the quoted value", "remove it")
            literal = pattern is _SINGLE
            value = match[1].replace("\\'", "'") if literal else _expanded(match[1], find)
            return value, end.end()
    if text[start : start + 1] in ("'", '"'):
        raise BadValueError("a quoted value does not end", f"close it with {text[start]}")
    end_of_line = text.find("\n", start)
    end_of_line = len(text) if end_of_line < 0 else end_of_line
    plain = _COMMENT.sub("", text[start:end_of_line]).strip()
    return interpolate(plain, find, lambda _name: None), end_of_line + 1


def _expanded(text: str, find: Lookup) -> str:
    """The value between double quotes: escapes, then variables; `\\$` is a dollar sign."""
    escaped = _ESCAPE.sub(lambda m: "$$" if m[1] == "$" else _ESCAPED.get(m[1], m[1]), text)
    return interpolate(escaped, find, lambda _name: None)

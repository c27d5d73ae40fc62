"""Interpolation by Compose's rules: `$X`, `${X}`, `${X:-default}`, `${X:?error}`, `${X:+other}`.

https://docs.docker.com/reference/compose-file/interpolation/. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from provision.model.findings import BadValueError
from provision.model.text import quoted

Lookup = Callable[[str], str | None]
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


def interpolate(text: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    """The text with its variables replaced; a variable without value is empty.

    `unset` is called with the name of each of these. Raises BadValueError: the form is wrong, or a
    variable is missing that the text requires.
    """
    parts, position = [], 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        value, position = _variable(text, dollar, lookup, unset)
        parts.append(value)
    return "".join((*parts, text[position:]))


def _variable(
    text: str, dollar: int, lookup: Lookup, unset: Callable[[str], None]
) -> tuple[str, int]:
    """The value of the variable at `dollar`, and the position after it."""
    if text.startswith("$$", dollar):
        return "$", dollar + 2
    if text.startswith("${", dollar):
        end = _closing_brace(text, dollar + 2)
        return _braced(text[dollar + 2 : end], lookup, unset), end + 1
    match = _NAME.match(text, dollar + 1)
    if match is None:
        raise _bad_form()
    value = lookup(match[0])
    if value is None:
        unset(match[0])
    return value or "", match.end()


def _bad_form() -> BadValueError:
    # Without the text, which may be a password.
    hint = "write $$ for a dollar sign, or ${NAME:-default}"
    return BadValueError("a '$' begins no variable that Compose knows", hint)


def _closing_brace(text: str, start: int) -> int:
    """The position of the brace that closes the one before `start`."""
    depth = 1
    for position in range(start, len(text)):
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text.startswith("${", position):
            depth += 1
    raise _bad_form()


def _braced(text: str, lookup: Lookup, unset: Callable[[str], None]) -> str:
    name = _NAME.match(text)
    operator = _OPERATOR.match(text, name.end()) if name else None
    if name is None or (operator is None and name.end() < len(text)):
        raise _bad_form()
    value = lookup(name[0])
    if operator is None:
        if value is None:
            unset(name[0])
        return value or ""
    counts = value != "" if operator[0].startswith(":") else True
    is_set = value is not None and counts
    argument = text[operator.end() :]
    if operator[0].endswith("+"):
        return interpolate(argument, lookup, unset) if is_set else ""
    if is_set:
        return value or ""
    if operator[0].endswith("-"):
        return interpolate(argument, lookup, unset)
    reason = interpolate(argument, lookup, unset)
    message = f"the variable {quoted(name[0])} is required" + (f": {reason}" if reason else "")
    raise BadValueError(message, "set it in .env beside the Compose file, or export it")

"""Explain YAML's syntax errors: libyaml's texts in, a message and a hint out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_DEPTH = 40
# A limit of our own. libyaml in PyYAML >= 6.0.4 has one as well, and reaches it while it reads
# ahead inside brackets, so that its error arrives before ours.
TOO_DEEP = (
    f"nested deeper than {MAX_DEPTH}",
    "no key needs more than 8 levels: remove brackets, or indentation",
)
_INDENT = "check that the keys of a level begin in one column"
_FLOW = "separate by commas and close every bracket"
_NOT_CLOSED = ("a list or mapping is not closed before here", _FLOW)
_BAD_INDENT = ("this line does not fit the lines above", _INDENT)
NO_TAG = ("tags (!) are not allowed here", "quote text that begins with !")
_SECOND_COLON = ("a second ': ' on this line", "quote the text that holds it, or begin a new line")
_NO_COLON = (
    "the line above is not 'key: value'",
    "write a space after its ':', or quote it if it is text",
)
# A part of the parser's `problem` (by libyaml, or by PyYAML's own parser) → message, hint.
_PROBLEMS = {
    "could not find expected ':'": ("a line without 'key: value'", "add the ':' and a space"),
    "did not find expected key": _BAD_INDENT,
    "expected <block end>": _BAD_INDENT,
    "did not find expected <document start>": _BAD_INDENT,
    "did not find expected '-' indicator": ("this is not a list item", "begin it with '- '"),
    "did not find expected ',' or": _NOT_CLOSED,
    "expected ',' or": _NOT_CLOSED,
    "did not find expected node content": ("a value is missing here", _FLOW),
    "expected the node content": ("a value is missing here", _FLOW),
    "unexpected end of stream": ("this quote is not closed", "close it with the same quote"),
    "unexpected document separator": ("this quote is not closed", "close it with the same quote"),
    "unexpected document indicator": ("this quote is not closed", "close it with the same quote"),
    "unknown escape character": (
        "a backslash in double quotes begins an escape",
        "use single quotes",
    ),
    "sequence entries are not allowed": ("a list cannot begin here", "put it on a new line"),
    "undefined tag handle": NO_TAG,
    "expected alphabetic or numeric": ("* and & are not allowed here", "quote the text"),
    "exceeded maximum nesting depth": TOO_DEEP,
    "invalid Unicode character": (
        "this escape does not name a character",
        "write the character itself",
    ),
}
_FIRST_CHARACTERS = {
    "\t": ("a tab where YAML wants spaces", "indent with spaces"),
    "@": ("text cannot begin with @", "quote it"),
    "`": ("text cannot begin with `", "quote it"),
    "%": ("text cannot begin with %", "quote it"),
}


def explain(error: Any, lines: Sequence[str]) -> tuple[int, int, str, str]:
    """Line and column (both from 1), message and hint of a `MarkedYAMLError`.

    `lines` are the lines of the file in which it occurred.
    """
    problem, context = error.problem or "", error.context or ""
    # The parser notices an open quote at the end of the file; the user mends it where it begins.
    open_quote = "scalar" in context and "unexpected" in problem
    mark = (error.context_mark if open_quote else None) or error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    text = lines[line] if line < len(lines) else ""
    message, hint = _message(problem, context, text[:column], text[column:])
    return line + 1, column + 1, message, hint


def _message(problem: str, context: str, before: str, after: str) -> tuple[str, str]:
    """Message and hint; `before` and `after` are the line's text around the error."""
    if "mapping values are not allowed" in problem:
        if len(before) > 1024:  # YAML 1.1's limit for a key without '?'
            return "a key is longer than 1024 characters", "shorten it"
        return _SECOND_COLON if ": " in before else _NO_COLON
    if "cannot start any token" in problem and after[:1] in _FIRST_CHARACTERS:
        return _FIRST_CHARACTERS[after[:1]]
    if "scanning a tag" in context:
        return NO_TAG
    for part, explanation in _PROBLEMS.items():
        if part in problem:
            return explanation
    return f"invalid YAML: {problem}", "check the indentation and the quotes before here"

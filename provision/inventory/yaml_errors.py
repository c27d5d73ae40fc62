"""What YAML's own syntax errors mean, in plain words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DEEPEST = 40
# Our own limit; libyaml from PyYAML 6.0.4 on has one, too, and in brackets reads ahead to it.
TOO_DEEP = (f"nested deeper than {DEEPEST}", "is a bracket not closed?")
_INDENT = "check that the keys of a level begin in one column"
_FLOW = "separate by commas and close every bracket"
_NOT_CLOSED = ("a list or mapping is not closed before here", _FLOW)
_NO_FIT = ("this line does not fit those above", _INDENT)
_NO_TAG = ("tags (!) are not allowed here", "quote text that begins with !")
_SECOND = ("a second ': ' on this line", "quote the text that holds it, or begin a new line")
_NO_SPACE = (
    "the line above is no 'key: value'",
    "write a space after its ':', or quote it if it is text",
)
# A piece of the parser's problem (libyaml's or PyYAML's own) → message, hint.
_PROBLEMS = {
    "could not find expected ':'": ("a line without 'key: value'", "add the ':' and a space"),
    "did not find expected key": _NO_FIT,
    "expected <block end>": _NO_FIT,
    "did not find expected <document start>": _NO_FIT,
    "did not find expected '-' indicator": ("this is no list item", "begin it with '- '"),
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
    "undefined tag handle": _NO_TAG,
    "expected alphabetic or numeric": ("* and & are not allowed here", "quote the text"),
    "exceeded maximum nesting depth": TOO_DEEP,
    "invalid Unicode character": ("this escape is no character", "write the character itself"),
}
_STARTS = {
    "\t": ("a tab where spaces are wanted", "indent by spaces"),
    "@": ("text cannot begin with @", "quote it"),
    "`": ("text cannot begin with `", "quote it"),
    "%": ("text cannot begin with %", "quote it"),
}


def syntax_words(error: Any, lines: Sequence[str]) -> tuple[int, int, str, str]:
    """Line and column from 1, message and hint of a parser's error in a file of `lines`."""
    problem, context = error.problem or "", error.context or ""
    # An open quote is found at the end of the file, but to be mended where it begins.
    quote = "scalar" in context and "unexpected" in problem
    mark = (error.context_mark if quote else None) or error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    text = lines[line] if line < len(lines) else ""
    return line + 1, column + 1, *_words(problem, context, text[:column], text[column:])


def _words(problem: str, context: str, before: str, after: str) -> tuple[str, str]:
    if "mapping values are not allowed" in problem:
        if len(before) > 1024:  # YAML's limit for a key
            return "a key is longer than 1024 characters", "shorten it"
        return _SECOND if ": " in before else _NO_SPACE
    if "cannot start any token" in problem and after[:1] in _STARTS:
        return _STARTS[after[:1]]
    if "scanning a tag" in context:
        return _NO_TAG
    for piece, words in _PROBLEMS.items():
        if piece in problem:
            return words
    return f"this is no YAML: {problem}", "check the indentation and the quotes before here"

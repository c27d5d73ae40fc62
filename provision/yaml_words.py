"""What YAML's own syntax errors mean, in plain words. Pure."""

from __future__ import annotations

from typing import Any

_COLON = "quote text that holds ': ', and check that the keys of a level begin in one column"
_INDENT = "check that the keys of a level begin in one column"
_CLOSE = "close it with the same quote"
_FLOW = "separate by commas and close the bracket"
# A piece of the parser's problem (libyaml's or PyYAML's own) → message, hint.
_PROBLEMS = {
    "mapping values are not allowed": ("a second ': ' on this line", _COLON),
    "could not find expected ':'": ("a line without 'key: value'", "add the ':' and a space"),
    "did not find expected key": ("this line does not fit those above", _INDENT),
    "did not find expected '-' indicator": ("this is no list item", "begin it with '- '"),
    "expected <block end>": ("this line does not fit those above", _INDENT),
    "did not find expected ',' or": ("a list or mapping is not closed before here", _FLOW),
    "expected ',' or": ("a list or mapping is not closed before here", _FLOW),
    "did not find expected node content": ("a value is missing here", _FLOW),
    "expected the node content": ("a value is missing here", _FLOW),
    "unexpected end of stream": ("a quote is not closed", _CLOSE),
    "unexpected document indicator": ("a quote is not closed before '---'", _CLOSE),
    "unknown escape character": (
        "a backslash in double quotes begins an escape",
        "use single quotes",
    ),
    "did not find expected <document start>": ("text after the end", _INDENT),
    "block sequence entries are not allowed": ("a list cannot begin here", "put it on a new line"),
    "undefined tag handle": ("tags (!) are not allowed here", "quote text that begins with !"),
    "expected alphabetic or numeric": ("* and & are not allowed here", "quote the text"),
    "invalid Unicode character": ("an escape is no character", "write the character itself"),
}
_STARTS = {
    "\t": ("a tab where spaces are wanted", "indent by spaces"),
    "@": ("text cannot begin with @", "quote it"),
    "`": ("text cannot begin with `", "quote it"),
    "%": ("text cannot begin with %", "quote it"),
}


def syntax_words(error: Any, at: str) -> tuple[str, str]:
    """Message and hint for a parser's error; `at` is the line from where it stopped."""
    problem = error.problem or ""
    if "cannot start any token" in problem and at[:1] in _STARTS:
        return _STARTS[at[:1]]
    for piece, words in _PROBLEMS.items():
        if piece in problem:
            return words
    return f"this is no YAML: {problem}", "check the indentation and the quotes before here"

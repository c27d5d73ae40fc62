"""The stanzas of /etc/network/interfaces and the files that it includes: interfaces(5). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import join

MAIN = "/etc/network/interfaces"
FOLDER = "/etc/network/interfaces.d"
_KEYWORDS = ("iface", "mapping", "auto", "source", "source-directory", "rename", "template")
# run-parts(8): the names that `source-directory` includes.
_RUN_PARTS = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Option:
    """One line of a stanza: `number` counts from 0."""

    number: int
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Stanza:
    """A keyword with its arguments, and for `iface` and `mapping` the lines below it.

    `lines` are the numbers of all its lines, from 0, without comments after the last of them.
    """

    path: str
    lines: range
    keyword: str
    arguments: tuple[str, ...]
    options: tuple[Option, ...] = ()

    @property
    def location(self) -> str:
        """File and line, which counts from 1 here."""
        return self.line(self.lines.start)

    def line(self, number: int) -> str:
        """File and line of the line `number`."""
        return f"{self.path}:{number + 1}"

    def is_iface(self, name: str) -> bool:
        """True for an `iface` stanza of exactly this interface."""
        return self.keyword == "iface" and self.arguments[:1] == (name,)

    def starts(self, name: str) -> bool:
        """True if it is an `auto` or `allow-…` line with this interface."""
        return is_start(self.keyword) and name in self.arguments


def is_start(keyword: str) -> bool:
    """True for `auto` and its relatives, which name interfaces that some event brings up."""
    return keyword == "auto" or keyword.startswith("allow-")


def stanzas(texts: Mapping[str, str]) -> tuple[Stanza, ...]:
    """All stanzas that ifupdown reads, in the order of the files."""
    main = tuple(_stanzas(MAIN, texts.get(MAIN, "")))
    included = [
        path
        for path in sorted(texts)
        if any(
            stanza.keyword in ("source", "source-directory") and _includes(stanza, path)
            for stanza in main
        )
    ]
    return (*main, *(stanza for path in included for stanza in _stanzas(path, texts[path])))


def is_known_source(stanza: Stanza) -> bool:
    """True if a `source` line includes nothing outside of FOLDER, whose files are read."""
    return all(
        _absolute(argument).rpartition("/")[0] == FOLDER or _absolute(argument) == FOLDER
        for argument in stanza.arguments
    )


def _includes(stanza: Stanza, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    for argument in map(_absolute, stanza.arguments):
        if stanza.keyword == "source-directory":
            if fnmatchcase(folder, argument) and _RUN_PARTS.fullmatch(name):
                return True
        # A `*` of wordexp(3) matches neither a `/` nor a leading dot.
        elif fnmatchcase(path, argument) and path.count("/") == argument.count("/"):
            return True
    return False


def _absolute(argument: str) -> str:
    return join(MAIN.rpartition("/")[0], argument).rstrip("/")


def _stanzas(path: str, text: str) -> Iterator[Stanza]:
    current: tuple[range, Sequence[str], list[Option]] | None = None
    for lines, arguments in _logical_lines(text):
        keyword = arguments[0]
        if keyword in _KEYWORDS or keyword.startswith(("allow-", "no-")):
            if current is not None:
                yield _stanza(path, *current)
            current = (lines, arguments, [])
        elif current is not None:
            first, start, options = current
            options.append(Option(lines.start, keyword, " ".join(arguments[1:])))
            current = (range(first.start, lines.stop), start, options)
    if current is not None:
        yield _stanza(path, *current)


def _stanza(path: str, lines: range, arguments: Sequence[str], options: list[Option]) -> Stanza:
    return Stanza(path, lines, arguments[0], tuple(arguments[1:]), tuple(options))


def _logical_lines(text: str) -> Iterator[tuple[range, list[str]]]:
    """Each line that is not empty, and its numbers: a backslash at the end continues a line."""
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        start, line = number, lines[number]
        # A comment cannot be continued.
        while not line.lstrip().startswith("#") and line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1] + lines[number]
        number += 1
        if (arguments := line.split()) and not arguments[0].startswith("#"):
            yield range(start, number), arguments

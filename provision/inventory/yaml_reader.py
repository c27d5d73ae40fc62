"""A strict reader of YAML: every node has its line and column, and nothing is guessed.

Of YAML 1.1, which PyYAML speaks, only its events are used: NO, 1.10, 22:22 and 0o17 stay text.
Anchors, tags, merge keys and second documents are refused while reading, so that no file of a
megabyte can become more than 20 000 nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from provision.inventory.yaml_errors import DEEPEST, TOO_DEEP, syntax_words
from provision.model.findings import KEY, Loc, quoted

MOST_NODES = 20_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
# 18 digits: more is no number that anything here could mean, and stays text.
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_UNFIT = re.compile("[\0\ud800-\udfff]")


class Remark(NamedTuple):
    """One complaint with its place, lines and columns from 1."""

    line: int
    column: int
    message: str
    hint: str = ""


class Pair(NamedTuple):
    """An entry of a mapping."""

    key: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins."""

    line: int
    column: int
    value: str | int | bool | list[Node] | dict[str, Pair] | None

    def plain(self) -> Any:
        """The value as ordinary Python."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {key: pair.value.plain() for key, pair in self.value.items()}
        return self.value

    def place(self, loc: Loc) -> tuple[int, int]:
        """Line and column of the node at a path, or of the nearest one above it."""
        node, above = self, self
        for step in loc:
            if isinstance(node.value, dict) and step in node.value:
                above, node = node.value[str(step)]
            elif isinstance(node.value, list) and isinstance(step, int):
                above = node = node.value[step]
            else:
                break
        # An empty value begins somewhere behind its key: the key is what a reader looks for.
        seen = above if loc[-1:] == (KEY,) or node.value is None else node
        return seen.line, seen.column


class YamlDocument(NamedTuple):
    """What was read; `root` is None where a remark makes the values unusable."""

    root: Node | None
    remarks: tuple[Remark, ...]


def read(text: str) -> YamlDocument:
    """The one document of a text."""
    reader = _Reader(text)
    try:
        root = reader.document()
    except _Stop as stop:
        return YamlDocument(None, (*reader.remarks, stop.remark))
    except yaml.MarkedYAMLError as error:
        return YamlDocument(None, (*reader.remarks, _syntax(error, text)))
    return YamlDocument(None if reader.spoiled else root, tuple(reader.remarks))


class _Stop(Exception):
    def __init__(self, event: Any, message: str, hint: str = "") -> None:
        self.remark = _remark(event, message, hint)


def _remark(event: Any, message: str, hint: str = "") -> Remark:
    mark = event.start_mark
    return Remark(mark.line + 1, mark.column + 1, message, hint)


def _tag(event: Any) -> str:
    return quoted(event.tag.replace("tag:yaml.org,2002:", "!!"))


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Remark:
    return Remark(*syntax_words(error, text.split("\n")))


class _Reader:
    def __init__(self, text: str) -> None:
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.remarks: list[Remark] = []
        self.spoiled = False
        self.nodes = 0

    def document(self) -> Node:
        next(self.events)  # the stream's start
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise _Stop(start, "the file is empty", "an inventory begins with 'name:'")
        if start.version or start.tags:
            raise _Stop(start, "directives (%) are not used here", "remove the line")
        root = self.node(next(self.events), 1)
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise _Stop(after, "a second document begins here", "one file is one inventory")
        return root

    def node(self, event: Any, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _Stop(event, f"the file has more than {MOST_NODES} values", "split it")
        if depth > DEEPEST:
            raise _Stop(event, *TOO_DEEP)
        self.refuse(event)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.MappingStartEvent):
            return Node(line, column, self.mapping(event, depth))
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(line, column, self.sequence(depth))
        return Node(line, column, self.scalar(event))

    def refuse(self, event: Any) -> None:
        """Remark what YAML allows and an inventory does not."""
        if isinstance(event, yaml.AliasEvent):
            self.spoil(event, "aliases (*) are not allowed here", "write the value out")
        elif event.tag is not None:
            self.spoil(event, f"tag {_tag(event)} is not allowed", "remove the tag")
        elif event.anchor is not None:
            self.spoil(event, "anchors (&) are not allowed here", "quote text that begins with &")

    def spoil(self, event: Any, message: str, hint: str) -> None:
        self.spoiled = True
        self.remarks.append(_remark(event, message, hint))

    def scalar(self, event: Any) -> str | int | bool | None:
        if isinstance(event, yaml.AliasEvent):
            return None
        text: str = event.value
        if _UNFIT.search(text):
            self.spoil(event, "no text here may hold a NUL character", "remove it")
        if not event.implicit[0]:  # quoted and block scalars are text
            return text
        if text in _WORDS:
            return _WORDS[text]
        return int(text) if _DECIMAL.fullmatch(text) else text

    def sequence(self, depth: int) -> list[Node]:
        nodes = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            nodes.append(self.node(event, depth + 1))
        return nodes

    def mapping(self, start: Any, depth: int) -> dict[str, Pair]:
        pairs: dict[str, Pair] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(start, event, depth)
            value = self.node(next(self.events), depth + 1)
            if not isinstance(key.value, str):
                continue
            if key.value in pairs:
                first = pairs[key.value].key
                at = f"first at {first.line}:{first.column}"
                self.remarks.append(
                    _remark(event, f"duplicate key {quoted(key.value)} ({at})", "remove one")
                )
                continue
            pairs[key.value] = Pair(key, value)
        return pairs

    def key(self, start: Any, event: Any, depth: int) -> Node:
        """A key as the text that was written; the value is None where it cannot be a key."""
        node = self.node(event, depth + 1)
        text = event.value if isinstance(event, yaml.ScalarEvent) else None
        if text is None and not isinstance(event, yaml.AliasEvent):
            if isinstance(event, yaml.MappingStartEvent) and start.flow_style:
                self.spoil(start, "a mapping cannot be a key", "quote a value that begins with {{")
            else:
                self.spoil(event, "a key must be plain text", "quote it")
        elif text == "<<" and event.implicit[0]:
            self.spoil(event, "merge keys (<<) are not allowed here", "write the keys out")
        elif text == "" and event.implicit[0]:
            self.spoil(event, "a key is missing before ':'", "write the key")
        return Node(node.line, node.column, text)

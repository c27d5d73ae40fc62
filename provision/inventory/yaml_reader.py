"""A strict YAML reader: every value keeps its line and column, and no value is converted by guess.

PyYAML implements YAML 1.1, which turns NO into false, 1.10 into a float, 22:22 into 1342 and 010
into 8. Only its event parser is used here, so that all of these stay text. Anchors, tags, merge
keys and further documents are refused while reading, so that a file of 8 MiB yields at most
200,000 nodes (no "billion laughs").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from provision.inventory.yaml_errors import MAX_DEPTH, NO_TAG, TOO_DEEP, explain
from provision.model.findings import KEY, Finding, FindingError, Loc, Position
from provision.model.text import quoted

# 2,000 hosts and 4,000 containers of seven keys have about 70,000 values. The worst files of this
# size, with a finding for each line, take 180 MB and 7 s of processor time (docs/inventory.md).
MAX_NODES = 200_000
# libyaml's parser where PyYAML was built with it: several times faster.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
# No key takes a number of more than 18 digits; such text stays text, and int() stays fast.
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})")
# An argument of exec(2) cannot hold NUL, and UTF-8 cannot encode surrogates.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


class Pair(NamedTuple):
    """An entry of a mapping."""

    key: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value, and the line and column (both from 1) at which it begins."""

    line: int
    column: int
    value: str | int | bool | list[Node] | dict[str, Pair] | None

    def plain(self) -> Any:
        """The value as str, int, bool, None, list and dict."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {key: pair.value.plain() for key, pair in self.value.items()}
        return self.value

    def locate(self, loc: Loc) -> tuple[int, int]:
        """Line and column of the node at a path, or of its nearest ancestor in the file."""
        node, key = self, self
        for step in loc:
            if isinstance(node.value, dict) and step in node.value:
                key, node = node.value[str(step)]
            elif isinstance(node.value, list) and isinstance(step, int):
                key = node = node.value[step]
            else:
                break
        # The parser places an empty value after its key, maybe on another line; name the key.
        target = key if loc[-1:] == (KEY,) or node.value is None else node
        return target.line, target.column


class YamlDocument(NamedTuple):
    """The content of a file; `root` is None where a finding makes the values unusable."""

    root: Node | None
    findings: tuple[Finding, ...]


def read(path: Path, text: str) -> YamlDocument:
    """Read the single document of `text`; `path` is only for the positions of findings."""
    reader = _Reader(path, text)
    try:
        root = reader.document()
    except FindingError as error:
        return YamlDocument(None, (*reader.findings, error.finding))
    except yaml.MarkedYAMLError as error:
        line, column, message, hint = explain(error, text.split("\n"))
        syntax = Finding((), message, hint, Position(path, line, column))
        return YamlDocument(None, (*reader.findings, syntax))
    return YamlDocument(None if reader.unusable else root, tuple(reader.findings))


# Of Compose, of Ansible, and of programs that put files together.
_KNOWN_TAGS = ("!reset", "!override", "!vault", "!unsafe", "!include", "!reference")


def is_text(event: Any) -> bool:
    """True for a tag that is rather a text which begins with `!`, such as a password."""
    if event.tag is None or event.tag.startswith("tag:yaml.org,2002:"):
        return False
    value = getattr(event, "value", None)  # lists and mappings have none
    return value == "" or (value is not None and event.tag not in _KNOWN_TAGS)


def _tag(event: Any) -> str:
    return quoted(event.tag.replace("tag:yaml.org,2002:", "!!"))


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.findings: list[Finding] = []
        self.unusable = False
        self.nodes = 0

    def document(self) -> Node:
        next(self.events)  # StreamStartEvent
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise self._stop(start, "the file is empty", "begin with name: demo")
        if start.version or start.tags:
            raise self._stop(start, "directives (%) are not allowed here", "remove the line")
        root = self.node(next(self.events), 1)
        next(self.events)  # DocumentEndEvent
        end = next(self.events)
        if not isinstance(end, yaml.StreamEndEvent):
            raise self._stop(end, "a second document begins here", "write it to a file of its own")
        return root

    def _finding(self, event: Any, message: str, hint: str) -> Finding:
        mark = event.start_mark
        return Finding((), message, hint, Position(self.path, mark.line + 1, mark.column + 1))

    def _stop(self, event: Any, message: str, hint: str) -> FindingError:
        return FindingError(self._finding(event, message, hint))

    def node(self, event: Any, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self._stop(event, f"the file has more than {MAX_NODES:,} values", "split it")
        if depth > MAX_DEPTH:
            raise self._stop(event, *TOO_DEEP)
        self.refuse_features(event)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.MappingStartEvent):
            return Node(line, column, self.mapping(event, depth))
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(line, column, self.sequence(depth))
        return Node(line, column, self.scalar(event))

    def refuse_features(self, event: Any) -> None:
        """Report features of YAML that an inventory must not use."""
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, "aliases (*) are not allowed here", "write the value out")
        elif is_text(event):
            self.refuse(event, *NO_TAG)
        elif event.tag is not None:
            self.refuse(event, f"tag {_tag(event)} is not allowed", "remove the tag")
        elif event.anchor is not None:
            self.refuse(event, "anchors (&) are not allowed here", "quote text that begins with &")

    def refuse(self, event: Any, message: str, hint: str) -> None:
        self.unusable = True
        self.findings.append(self._finding(event, message, hint))

    def scalar(self, event: Any) -> str | int | bool | None:
        if isinstance(event, yaml.AliasEvent):
            return None
        text: str = event.value
        if _UNUSABLE.search(text):
            self.refuse(event, "text must not hold NUL or a lone surrogate", "remove it")
        if not event.implicit[0]:  # quoted and block scalars are always text
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
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
                message = (
                    f"duplicate key {quoted(key.value)} (first at {first.line}:{first.column})"
                )
                # The values stay usable: the first of the two counts.
                self.findings.append(self._finding(event, message, "remove one"))
                continue
            pairs[key.value] = Pair(key, value)
        return pairs

    def key(self, start: Any, event: Any, depth: int) -> Node:
        """A key as the file spells it (`1` and `true` stay text); value None if it is no scalar."""
        node = self.node(event, depth + 1)
        text = event.value if isinstance(event, yaml.ScalarEvent) else None
        if text is None and not isinstance(event, yaml.AliasEvent):
            # `{{ name }}`, a template of other tools, is a mapping as the key of a mapping.
            if isinstance(event, yaml.MappingStartEvent) and start.flow_style:
                self.refuse(start, "a mapping cannot be a key", "quote a value that begins with {{")
            else:
                self.refuse(event, "a key must be plain text", "quote it")
        elif text == "<<" and event.implicit[0]:
            self.refuse(event, "merge keys (<<) are not allowed here", "write the keys out")
        elif text == "" and event.implicit[0]:
            self.refuse(event, "a key is missing before ':'", "write the key")
        return Node(node.line, node.column, text)

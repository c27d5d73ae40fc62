"""Read the YAML of Compose, with anchors and merge keys and the position of every value. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from provision.inventory.compose.scalars import scalar
from provision.inventory.yaml_errors import MAX_DEPTH, NO_TAG, TOO_DEEP, explain
from provision.inventory.yaml_reader import MAX_NODES, Node, Pair, is_text
from provision.model.findings import Finding, FindingError, Position
from provision.model.text import quoted

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "<<"


def read(path: Path, text: str) -> Node:
    """The root of the single document of `text`. Raises FindingError."""
    try:
        return _NodeReader(path, text).document()
    except yaml.MarkedYAMLError as error:
        line, column, message, hint = explain(error, text.split("\n"))
        raise FindingError.at(Position(path, line, column), message, hint) from error


class _NodeReader:
    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.nodes = 0

    def document(self) -> Node:
        next(self.events)  # StreamStartEvent
        start = next(self.events)
        if isinstance(start, yaml.StreamEndEvent):
            raise self.error(start, "the file is empty", "begin with services:")
        root = self.node(next(self.events), 1)
        next(self.events)  # DocumentEndEvent
        end = next(self.events)
        if not isinstance(end, yaml.StreamEndEvent):
            raise self.error(end, "a second document begins here", "write it to a file of its own")
        return root

    def error(self, event: Any, message: str, hint: str) -> FindingError:
        mark = event.start_mark
        return FindingError.at(Position(self.path, mark.line + 1, mark.column + 1), message, hint)

    def count(self, event: Any, number: int) -> None:
        """Count values; those of an alias as often as it is used (no "billion laughs")."""
        self.nodes += number
        if self.nodes > MAX_NODES:
            raise self.error(event, f"the file has more than {MAX_NODES:,} values", "split it")

    def node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                # Its name is not in the message: it may be a password that begins with *.
                hint = "write its anchor (&) at a value, or quote a text that begins with *"
                raise self.error(event, "this alias has no anchor before it", hint)
            node, size = self.anchors[event.anchor]
            self.count(event, size)
            return node
        self.count(event, 1)
        if depth > MAX_DEPTH:
            raise self.error(event, *TOO_DEEP)
        if is_text(event):
            raise self.error(event, *NO_TAG)
        if event.tag is not None and not event.tag.startswith("tag:yaml.org,2002:"):
            message = f"tag {quoted(event.tag)} is not supported"
            raise self.error(event, message, "it merges files; write the result in one file")
        before = self.nodes
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        node = Node(line, column, self.value(event, depth))
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.nodes - before + 1)
        return node

    def value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(depth)
        # Quoted and block scalars are always text.
        return scalar(event.value) if event.implicit[0] else str(event.value)

    def sequence(self, depth: int) -> list[Node]:
        nodes = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            nodes.append(self.node(event, depth + 1))
        return nodes

    def mapping(self, depth: int) -> dict[str, Pair]:
        pairs: dict[str, Pair] = {}
        merged: list[dict[str, Pair]] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error(event, "a key must be plain text", "write the key out")
            key = replace(self.node(event, depth + 1), value=event.value)
            value_event = next(self.events)
            value = self.node(value_event, depth + 1)
            if event.value == _MERGE and event.implicit[0]:
                merged += self.merged(value_event, value)
            elif event.value in pairs:
                first = pairs[event.value].key
                message = f"duplicate key {quoted(event.value)} (first at line {first.line})"
                raise self.error(event, message, "remove one")
            else:
                pairs[event.value] = Pair(key, value)
        for mapping in merged:
            pairs = {**mapping, **pairs}
        return pairs

    def merged(self, event: Any, value: Node) -> list[dict[str, Pair]]:
        """The mappings of a merge key; the first of them counts before the others."""
        nodes = value.value if isinstance(value.value, list) else [value]
        mappings = [node.value for node in nodes if isinstance(node.value, dict)]
        if len(mappings) < len(nodes):
            raise self.error(event, "a merge key takes mappings", "write <<: *NAME")
        return mappings


def finding(path: Path, node: Node, message: str, hint: str = "") -> Finding:
    """A finding at a value of a file."""
    return Finding((), message, hint, Position(path, node.line, node.column))

"""The entries of netplan's YAML files, with their lines. Pure.

Only positions and texts are read from the YAML: values go to netplan as they were written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Node = Any
"""A node of PyYAML, whose types know no `id`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of an interface: `number` counts from 0; `text` is `KEY: VALUE`, without indent."""

    key: str
    value: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class NetplanEntry:
    """An entry of `ethernets`; `lines` are the numbers of its lines, from 0, `indent` its blanks.

    `match` is the pattern of `match: {name: …}`, and `nic` the name that the interface gets.
    `in_flow` is True if the entry is inside braces, where lines cannot be replaced.
    """

    id: str
    nic: str
    match: str
    path: str
    lines: range
    indent: int
    in_flow: bool
    settings: tuple[Setting, ...]

    @property
    def location(self) -> str:
        """File and line, which counts from 1 here."""
        return self.line(self.lines.start)

    def line(self, number: int) -> str:
        """File and line of the line `number`."""
        return f"{self.path}:{number + 1}"

    def may_be(self, nic: str) -> bool:
        """True if the entry configures the NIC, perhaps among others."""
        return self.nic == nic or bool(self.match and fnmatchcase(nic, self.match))


def interfaces(path: str, text: str) -> Iterator[NetplanEntry]:
    """The entries of `ethernets` of one file. Raises ValueError for text that is not YAML."""
    ethernets = _child(_child(_root(text), "network"), "ethernets")
    for key, value in _pairs(ethernets):
        settings = tuple(_setting(text, name, node) for name, node in _pairs(value))
        match = _scalar(_child(_child(value, "match"), "name"))
        has_match = _child(value, "match") is not None
        name = _scalar(_child(value, "set-name")) or ("" if has_match else str(key.value))
        in_flow = bool(getattr(ethernets, "flow_style", False))
        lines = range(key.start_mark.line, _end(text, key.start_mark.line, value))
        column = key.start_mark.column
        yield NetplanEntry(str(key.value), name, match, path, lines, column, in_flow, settings)


def uses(path: str, text: str, interface: str) -> Iterator[str]:
    """File and line of each place outside of `ethernets` where an interface is used."""
    for key, value in _pairs(_child(_root(text), "network")):
        if key.value != "ethernets":
            for node in _scalars(value):
                if node.value == interface:
                    yield f"{path}:{node.start_mark.line + 1}"


def _root(text: str) -> Node:
    # Imported here: the facts of most hosts have no file of netplan.
    import yaml

    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error


def _pairs(node: Node) -> Iterator[tuple[Node, Node]]:
    if node is not None and node.id == "mapping":
        yield from node.value


def _child(node: Node, name: str) -> Node:
    return next((value for key, value in _pairs(node) if key.value == name), None)


def _scalar(node: Node) -> str:
    return str(node.value) if node is not None and node.id == "scalar" else ""


def _scalars(node: Node) -> Iterator[Node]:
    if node.id == "scalar":
        yield node
    elif node.id == "sequence":
        for item in node.value:
            yield from _scalars(item)
    else:
        for _, value in _pairs(node):
            yield from _scalars(value)


def _setting(text: str, key: Node, value: Node) -> Setting:
    column = key.start_mark.column
    stop = value.end_mark.index
    lines = text[key.start_mark.index : stop].rstrip().split("\n")
    # The first line begins at the key; the others have the file's indent.
    shifted = [line[min(column, len(line) - len(line.lstrip())) :] for line in lines[1:]]
    kept = [line for line in shifted if line.strip() and not line.lstrip().startswith("#")]
    number = key.start_mark.line
    return Setting(str(key.value), _scalar(value), number, "\n".join((lines[0].rstrip(), *kept)))


def _end(text: str, start: int, value: Node) -> int:
    """The number of the line after an entry, without blank lines and comments at its end."""
    mark, lines = value.end_mark, text.split("\n")
    # The mark of a block ends before the next token, that of braces right behind them.
    is_behind = mark.line < len(lines) and lines[mark.line][: mark.column].strip()
    stop = int(mark.line) + (1 if is_behind else 0)
    while stop > start + 1 and (not (line := lines[stop - 1].strip()) or line.startswith("#")):
        stop -= 1
    return max(stop, start + 1)

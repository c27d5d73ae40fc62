"""Ansible's INI form: `[group]`, `[group:children]`, `[group:vars]`, hosts with variables. Pure."""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

from provision.inventory.ansible.model import ALL, UNGROUPED, Tree, Value, Variables
from provision.inventory.ansible.names import expand
from provision.model.findings import FindingError, Position

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")

_HOST = re.compile(r"\[[^\]]+\]:\d+(\s|$)|\[(\d+:\d+|[a-zA-Z]:[a-zA-Z])(:\d+)?\]\S")


def read(path: Path, text: str) -> Tree:
    """The inventory in `text`. Raises FindingError at the first line that cannot be read."""
    tree = Tree()
    group, kind = UNGROUPED, "hosts"
    # Groups that need a section of their own, which may follow later in the file.
    required: list[tuple[str, str, Position]] = []
    declared = {ALL, UNGROUPED}
    for number, line in enumerate(text.splitlines(), 1):
        position, line = Position(path, number, 1), line.strip()
        if not line or line[0] in "#;":
            continue
        # Not each bracket opens a section: `[2001:db8::1]:2222` and `[1:3].example.com` are hosts.
        if line[0] == "[" and (_SECTION.fullmatch(line) or not _HOST.match(line)):
            group, kind = _section(line, position)
            if kind == "vars":
                required.append((group, "variables", position))
            else:
                declared.add(group)
                tree.group(group, position)
        elif kind == "hosts":
            _host(tree, group, line, position)
        elif kind == "children":
            child = _split(line, position)[0]
            required.append((child, "no hosts", position))
            tree.groups[group].children.append(child)
        else:
            name, value = _assignment(line, position)
            tree.group(group, position).variables[name] = value
    for name, contents, position in required:
        if name not in declared:
            message = f"group '{name}' has {contents}: it has no section"
            raise FindingError.at(position, message, f"add [{name}]")
    return _linked(tree)


def _section(line: str, position: Position) -> tuple[str, str]:
    match = _SECTION.fullmatch(line)
    if not match:
        hint = "write [group], [group:children] or [group:vars]"
        raise FindingError.at(position, "this is not a section", hint)
    kind = match[2] or "hosts"
    if kind not in ("hosts", "children", "vars"):
        message = f"unknown kind of section '{kind}'"
        raise FindingError.at(position, message, "write :children or :vars")
    return match[1], kind


def _linked(tree: Tree) -> Tree:
    """Link children to their groups once all groups are known: a child may come first."""
    for name, group in list(tree.groups.items()):
        children, group.children = group.children, []
        for child in children:
            tree.add_child(child, name, group.position)
    return tree


def _host(tree: Tree, group: str, line: str, position: Position) -> None:
    pattern, *assignments = _split(line, position)
    names, port = expand(pattern, position)
    variables: Variables = {"ansible_port": Value(port, position)} if port else {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            message = f"'{assignment}' is not key=value"
            raise FindingError.at(position, message, "put quotes around text with spaces")
        variables[name] = Value(_literal(value), position)
    for name in names:
        tree.add_host(name, group, position, variables)


def _split(line: str, position: Position) -> list[str]:
    try:
        return shlex.split(line, comments=True)  # as Ansible's ini plug-in splits host lines
    except ValueError as error:
        message = f"this line cannot be read: {error}"
        raise FindingError.at(position, message, "close the quote") from error


def _assignment(line: str, position: Position) -> tuple[str, Value]:
    name, equals, value = line.partition("=")
    if not equals:
        raise FindingError.at(position, "this is not key=value", "write name=value")
    return name.strip(), Value(_literal(value.strip()), position)


def _literal(text: str) -> Any:
    """The value of a Python literal, as Ansible's ini plug-in reads it; else the text."""
    try:
        with warnings.catch_warnings():
            # Python warns of text such as "\d" or 1in: a variable that others write.
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text

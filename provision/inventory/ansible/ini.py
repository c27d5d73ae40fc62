"""Ansible's INI form: `[group]`, `[group:children]`, `[group:vars]`, hosts with variables. Pure."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

from provision.inventory.ansible.model import ALL, UNGROUPED, Misread, Spot, Tree, Value, Variables
from provision.inventory.ansible.names import expanded

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")


def read(path: Path, text: str) -> Tree:
    """The inventory in a text. Raises Misread."""
    tree = Tree()
    group, kind = UNGROUPED, "hosts"
    later: list[tuple[str, str, Spot]] = []
    declared = {ALL, UNGROUPED}
    for number, line in enumerate(text.splitlines(), 1):
        spot, line = Spot(path, number), line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            group, kind = _section(line, spot)
            if kind == "vars":
                later.append((group, "variables", spot))
            else:
                declared.add(group)
                tree.group(group, spot)
        elif kind == "hosts":
            _host(tree, group, line, spot)
        elif kind == "children":
            child = _words(line, spot)[0]
            later.append((child, "no hosts", spot))
            tree.groups[group].children.append(child)
        else:
            name, value = _assignment(line, spot)
            tree.group(group, spot).variables[name] = value
    for name, what, spot in later:
        if name not in declared:
            raise Misread(spot, f"group '{name}' has {what}: it has no section", f"add [{name}]")
    return _joined(tree)


def _section(line: str, spot: Spot) -> tuple[str, str]:
    match = _SECTION.fullmatch(line)
    if not match:
        raise Misread(spot, "this is no section", "write [group], [group:children] or [group:vars]")
    kind = match[2] or "hosts"
    if kind not in ("hosts", "children", "vars"):
        raise Misread(spot, f"unknown kind of section '{kind}'", "write :children or :vars")
    return match[1], kind


def _joined(tree: Tree) -> Tree:
    """Children are joined last: groups may be named before they are written."""
    for name, group in list(tree.groups.items()):
        children, group.children = group.children, []
        for child in children:
            tree.child(child, name, group.spot)
    return tree


def _host(tree: Tree, group: str, line: str, spot: Spot) -> None:
    pattern, *words = _words(line, spot)
    names, port = expanded(pattern, spot)
    variables: Variables = {"ansible_port": Value(port, spot)} if port else {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise Misread(spot, f"'{word}' is no key=value", "put quotes around text with spaces")
        variables[name] = Value(_typed(value), spot)
    for name in names:
        tree.host(name, group, spot, variables)


def _words(line: str, spot: Spot) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise Misread(spot, f"this line cannot be read: {error}", "close the quote") from error


def _assignment(line: str, spot: Spot) -> tuple[str, Value]:
    name, sign, value = line.partition("=")
    if not sign:
        raise Misread(spot, "this is no key=value", "write name=value")
    return name.strip(), Value(_typed(value.strip()), spot)


def _typed(text: str) -> Any:
    """As Ansible has it: a Python literal where it is one, else text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text

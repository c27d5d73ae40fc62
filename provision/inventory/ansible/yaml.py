"""Ansible's YAML form, and the files of group_vars and host_vars. Pure.

Unlike our own files, Ansible's may use anchors, merge keys and tags. The value of a tag that only
Ansible knows (`!vault`) becomes Opaque.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from provision.inventory.ansible.model import ALL, Tree, Value, Variables
from provision.inventory.ansible.names import expand
from provision.model.findings import Finding, FindingError, Position

MAX_DEPTH = 40
_SECTIONS = ("hosts", "children", "vars")
_KNOWN_KEYS = "write hosts, children or vars"


class Opaque:
    """A value that only Ansible can decrypt or compute."""


class _Loader(yaml.SafeLoader):
    """A loader of its own, so that the constructor below changes no other code."""


_Loader.add_constructor(None, lambda _loader, _node: Opaque())


def read(path: Path, text: str) -> Tree:
    """The inventory in `text`. Raises FindingError at the first node that cannot be read."""
    tree = Tree()
    for name, position, body in _pairs(_root(path, text), path):
        _group(tree, name, position, body, path, 0)
    return tree


def variables(path: Path, text: str) -> Variables:
    """The variables of a file of group_vars or host_vars. Raises FindingError."""
    root = _root(path, text)
    return {} if root is None else _variables(root, path)


def _root(path: Path, text: str) -> yaml.Node | None:
    try:
        # JSON may be indented by tabs, which YAML forbids; its strings contain none.
        plain = text.replace("\t", " ") if text.lstrip().startswith("{") else text
        root = yaml.compose(plain, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(path, mark.line + 1 if mark else 1, 1)
        message = f"invalid YAML: {error.problem}"
        raise FindingError.at(position, message, "check the lines above") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise FindingError.at(Position(path, 1, 1), f"invalid YAML: {error}") from error
    return None if root is None or _is_null(root) else root


def _group(
    tree: Tree, name: str, position: Position, body: yaml.Node | None, path: Path, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise FindingError.at(position, f"groups nested deeper than {MAX_DEPTH}")
    if body is not None and not isinstance(body, yaml.MappingNode):
        message, hint = (
            f"Ansible ignores group '{name}', which is no mapping",
            "write hosts below it",
        )
        if depth:  # Ansible does not know the child then, and refuses the file
            raise FindingError.at(position, message, hint)
        tree.ignored.append(Finding((), message, hint, position))
        return
    group = tree.group(name, position)
    sections = {key: (at, value) for key, at, value in _pairs(body, path)}
    for key, (at, value) in sections.items():
        if key not in _SECTIONS and value is not None:
            message = f"Ansible ignores the key '{key}' of group '{name}'"
            tree.ignored.append(Finding((), message, _KNOWN_KEYS, at))
    if "vars" in sections:
        at, value = sections["vars"]
        group.variables.update(_variables(value, path) if value else {})
    for child, at, value in _pairs(sections.get("children", (position, None))[1], path):
        _group(tree, child, at, value, path, depth + 1)
        # Every group belongs to `all` without being listed: see Tree.order.
        if name != ALL:
            tree.add_child(child, name, at)
    for pattern, at, value in _pairs(sections.get("hosts", (position, None))[1], path):
        hosts, port = expand(pattern, at)
        host_variables: Variables = {"ansible_port": Value(port, at)} if port else {}
        host_variables |= _variables(value, path) if value else {}
        for host in hosts:
            tree.add_host(host, name, at, host_variables)


def _pairs(node: yaml.Node | None, path: Path) -> list[tuple[str, Position, yaml.Node | None]]:
    """Key, position and value of each entry of a mapping; value None if it is empty."""
    if node is None:
        return []
    position = Position(path, node.start_mark.line + 1, 1)
    if isinstance(node, yaml.ScalarNode):  # Ansible reads `hosts: h1` as a host without variables
        return [(str(node.value), position, None)]
    if not isinstance(node, yaml.MappingNode):
        message = "this is a list, but must be a mapping"
        raise FindingError.at(position, message, "write name: on each line")
    _merge(node, position)
    # Of equal keys, Ansible takes the last one.
    pairs = {str(key.value): (key, value) for key, value in node.value}
    return [
        (
            name,
            Position(path, key.start_mark.line + 1, 1),
            None if _is_null(value) else value,
        )
        for name, (key, value) in pairs.items()
    ]


def _merge(node: yaml.MappingNode, position: Position) -> None:
    """Resolve the merge keys (`<<`) of a mapping in place. Raises FindingError."""
    try:
        _Loader("").flatten_mapping(node)
    except (yaml.MarkedYAMLError, RecursionError) as error:
        message = "'<<' does not name a mapping, or a list of mappings"
        raise FindingError.at(position, message, "write <<: *NAME of an anchor") from error


def _variables(node: yaml.Node, path: Path) -> Variables:
    return {name: Value(_plain(value), position) for name, position, value in _pairs(node, path)}


def _plain(node: yaml.Node | None) -> Any:
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError):
        # For example a date that does not exist: of no use here, but no reason to stop either.
        return Opaque()


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"

"""Ansible's YAML form, and the files of group_vars and host_vars. Pure.

Unlike our own files these may use anchors, merge keys and tags; a tag that only Ansible knows
(`!vault`) makes its value opaque.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from provision.inventory.ansible.model import ALL, Misread, Spot, Tree, Value, Variables
from provision.inventory.ansible.names import expanded

DEEPEST = 40


class Opaque:
    """A value that only Ansible can read."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor(None, lambda _loader, _node: Opaque())


def read(path: Path, text: str) -> Tree:
    """The inventory in a text. Raises Misread."""
    tree = Tree()
    for name, spot, body in _pairs(_root(path, text), path):
        _group(tree, name, spot, body, path, 0)
    return tree


def variables(path: Path, text: str) -> Variables:
    """The variables of a file of group_vars or host_vars. Raises Misread."""
    root = _root(path, text)
    return {} if root is None else _variables(root, path)


def _root(path: Path, text: str) -> yaml.Node | None:
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(path, mark.line + 1 if mark else 1)
        raise Misread(spot, f"this is no YAML: {error.problem}", "check the lines above") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Misread(Spot(path, 1), f"this is no YAML: {error}") from error
    return None if root is None or _is_null(root) else root


def _group(
    tree: Tree, name: str, spot: Spot, body: yaml.Node | None, path: Path, depth: int
) -> None:
    if depth > DEEPEST:
        raise Misread(spot, f"groups nested deeper than {DEEPEST}")
    group = tree.group(name, spot)
    parts = {key: (at, value) for key, at, value in _pairs(body, path)}
    unknown = [key for key in parts if key not in ("hosts", "children", "vars")]
    if unknown:
        at, _ = parts[unknown[0]]
        raise Misread(at, f"'{unknown[0]}' in group '{name}'", "write hosts, children or vars")
    if "vars" in parts:
        at, value = parts["vars"]
        group.variables.update(_variables(value, path) if value else {})
    for child, at, value in _pairs(parts.get("children", (spot, None))[1], path):
        _group(tree, child, at, value, path, depth + 1)
        if name != ALL:
            tree.child(child, name, at)
    for pattern, at, value in _pairs(parts.get("hosts", (spot, None))[1], path):
        names, port = expanded(pattern, at)
        given: Variables = {"ansible_port": Value(port, at)} if port else {}
        given |= _variables(value, path) if value else {}
        for host in names:
            tree.host(host, name, at, given)


def _pairs(node: yaml.Node | None, path: Path) -> list[tuple[str, Spot, yaml.Node | None]]:
    """Keys of a mapping, where they are, and their values; None for an empty one."""
    if node is None:
        return []
    if isinstance(node, yaml.ScalarNode):  # `hosts: h1` is a host without variables
        return [(str(node.value), Spot(path, node.start_mark.line + 1), None)]
    if not isinstance(node, yaml.MappingNode):
        spot = Spot(path, node.start_mark.line + 1)
        raise Misread(spot, "a list stands where a mapping is wanted", "write name: on each line")
    loader = _Loader("")
    loader.flatten_mapping(node)
    return [
        (
            str(key.value),
            Spot(path, key.start_mark.line + 1),
            None if _is_null(value) else value,
        )
        for key, value in node.value
    ]


def _variables(node: yaml.Node, path: Path) -> Variables:
    return {name: Value(_plain(value), spot) for name, spot, value in _pairs(node, path)}


def _plain(node: yaml.Node | None) -> Any:
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError):
        return Opaque()


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"

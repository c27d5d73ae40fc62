"""The output of `ansible-inventory --list`, and of inventory scripts: JSON with `_meta`. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from provision.inventory.ansible.model import ALL, Tree, Value, Variables
from provision.inventory.ansible.yaml import Opaque
from provision.model.findings import FindingError, Position

META = "_meta"
_VAULT = "__ansible_vault"


def is_listing(text: str) -> bool:
    """True for the output of `ansible-inventory --list`."""
    return text.lstrip().startswith("{") and f'"{META}"' in text


def read(path: Path, text: str) -> Tree:
    """The inventory in `text`, whose hosts have all their variables. Raises FindingError."""
    position = Position(path, 1, 1)
    try:
        listed = json.loads(text)
        hostvars = listed.get(META, {}).get("hostvars", {})
        return _tree(listed, hostvars, position)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        message = f"this is not the output of ansible-inventory --list: {error}"
        raise FindingError.at(position, message, "write it again") from error


def _tree(listed: dict[str, Any], hostvars: dict[str, Any], position: Position) -> Tree:
    tree = Tree(resolved=True)
    groups = {name: body for name, body in listed.items() if name != META}
    for name, body in groups.items():
        tree.group(name, position)
        # An old script may print a plain list of hosts.
        for host in body if isinstance(body, list) else body.get("hosts", ()):
            tree.add_host(str(host), name, position, _variables(hostvars.get(host, {}), position))
    for name, body in groups.items():
        children = body.get("children", ()) if isinstance(body, dict) else ()
        for child in children:
            tree.group(child, position)
            if name != ALL:  # every group is in `all` without being listed: see Tree.order
                tree.add_child(child, name, position)
    return tree


def _variables(variables: dict[str, Any], position: Position) -> Variables:
    return {
        name: Value(Opaque() if _is_locked(value) else value, position)
        for name, value in variables.items()
    }


def _is_locked(value: Any) -> bool:
    return isinstance(value, dict) and _VAULT in value

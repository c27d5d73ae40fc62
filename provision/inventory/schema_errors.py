"""Pydantic's findings in our words, with what to write instead. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from provision.model.documents import (
    MAPPING,
    TEXT,
    Document,
    InterfaceDocument,
    RouteDocument,
    RuleDocument,
)
from provision.model.findings import KEY, BadValueError, Finding, Loc
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

# Keys of the contract that this version does not act on; an unknown key would be a lie.
LATER: dict[str, frozenset[str]] = {}
# Mappings in lists of a container: what their keys may be.
_NESTED: dict[str, type[Document]] = {
    "interfaces": InterfaceDocument,
    "routes": RouteDocument,
    "rules": RuleDocument,
}
_SECTIONS = {
    "ssh": "ssh: {user: root}",
    "hosts": "hosts: {h1: {address: 10.0.0.11}}",
    "hosts_from": "hosts_from: ansible-hosts.yml",
    "groups": "groups: {edge: [h1]}",
    "networks": "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}",
    "containers": "containers: {web: {host: h1, network: blue}}",
}
_ITEMS = {
    "hosts": "{address: 10.0.0.11}",
    "groups": "[h1, h2]",
    "networks": "{method: routes, cidr: 172.20.0.0/16}",
    "containers": "{host: h1, network: blue}",
}
_LISTS = {
    "command": '[sleep, "3600"]',
    "ports": '["8080:80"]',
    "volumes": '["/srv/web:/www:ro"]',
    "interfaces": "[{network: lan, address: 10.78.0.245/24}]",
    "addresses": '[10.78.0.245/24, "fd00::245/64"]',
    "routes": "[{to: 10.9.0.0/16, via: 10.78.0.1}]",
    "rules": "[{source: 10.78.0.245/32, table: 100, priority: 1000}]",
}
_KEYS = {
    "name": "name: demo",
    "address": "address: 10.0.0.11",
    "method": "method: routes",
    "cidr": "cidr: 172.20.0.0/16",
    "host": "host: h1",
    "network": "network: blue",
    "archive": "archive: image.tar",
    "image": "image: busybox or image: {archive: image.tar}",
    "subnets": "subnets: {h1: 172.20.0.0/24}",
    "etcd": "etcd: {members: [h1, h2, h3]}",
    "subnet_min": "subnet_min: 172.16.0.0",
    "subnet_max": "subnet_max: 172.16.255.0",
}
_PLAIN = re.compile(r"(?!(?:true|false|null)$)-{0,2}[A-Za-z/_][\w/.=-]*", re.IGNORECASE)


def finding(error: Mapping[str, Any], base: Loc, known: tuple[str, ...]) -> Finding:
    """One finding; `known` are the keys of the mapping that `base` leads to."""
    loc = base + tuple(step for step in error["loc"] if step not in (TEXT, MAPPING))
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        wrong = error["ctx"]["error"]
        return Finding(loc, str(wrong), wrong.hint if isinstance(wrong, BadValueError) else "")
    if kind == "missing":
        return Finding((*loc[:-1], KEY), *_missing(loc))
    if kind == "extra_forbidden":
        return Finding((*loc, KEY), *_unknown(loc, known))
    if kind == "literal_error":
        return Finding(loc, *_literal(loc, value, error["ctx"]["expected"]))
    return Finding(loc, *_type(kind, loc, value))


def _label(loc: Loc) -> str:
    if not loc:
        return "an inventory"
    last = loc[-1]
    return f"item {last + 1} of '{loc[-2]}'" if isinstance(last, int) else quoted(last)


def _missing(loc: Loc) -> tuple[str, str]:
    key = str(loc[-1])
    sample = _KEYS.get(key) or _SECTIONS.get(key, "")
    owner = "" if len(loc) < 2 else f" in {_label(loc[:-1])}"
    return f"{_label(loc)} is missing{owner}", f"write {sample}" if sample else ""


def _unknown(loc: Loc, known: tuple[str, ...]) -> tuple[str, str]:
    key, section = str(loc[-1]), str(loc[0]) if len(loc) == 3 else ""
    if key in LATER.get(section, ()) and len(loc) in (1, 3):
        return f"{quoted(key)} is not supported yet in this version", "remove it"
    if loc[-2:-1] == ("etcd",):
        known = ("members", "prefix", "client_port", "peer_port")
    if key == "archive" or loc[-2:-1] == ("image",):
        known = ("archive",)
    if len(loc) > 4 and loc[-3] in _NESTED:
        known = tuple(_NESTED[str(loc[-3])].model_fields)
    return f"unknown key {quoted(key)}", did_you_mean(key, known, "keys")


def _literal(loc: Loc, value: Any, expected: str) -> tuple[str, str]:
    words = tuple(re.findall(r"'([^']*)'", expected))
    hint = did_you_mean(str(value), words, "words") if isinstance(value, str) else ""
    choice = words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" or {words[-1]}"
    shown = quoted(value) if isinstance(value, str) else _shown(value)
    return f"{_label(loc)} cannot be {shown}", (
        hint if hint.startswith("did") else f"write {choice}"
    )


def _type(kind: str, loc: Loc, value: Any) -> tuple[str, str]:
    if value is None and loc:
        return f"{_label(loc)} is empty", _empty_hint(kind, loc)
    if kind == "string_type":
        return f"{_label(loc)} must be text, not {_shown(value)}", _text_hint(loc, value)
    if kind == "int_type":
        number = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value)
        hint = "remove the quotes" if number and str(int(value)) == value else "write digits only"
        return f"{_label(loc)} must be a whole number, not {_shown(value)}", hint
    if kind == "bool_type":
        return f"{_label(loc)} must be true or false, not {_shown(value)}", "write true or false"
    if kind in ("list_type", "tuple_type"):
        return f"{_label(loc)} must be a list, not {_shown(value)}", _list_hint(loc, value)
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{_label(loc)} must be a mapping, not {_shown(value)}", _mapping_hint(loc)
    if kind == "union_tag_not_found" or kind == "union_tag_invalid":
        return (
            f"{_label(loc)} cannot be {_shown(value)}",
            f"write {_KEYS.get(str(loc[-1]), 'text')}",
        )
    return f"{_label(loc)} cannot be {_shown(value)}", ""


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    return f"{'' if isinstance(value, bool) else 'the number '}{quoted(value)[1:-1]}"


def _empty_hint(kind: str, loc: Loc) -> str:
    if kind in ("dict_type", "list_type"):
        return _mapping_hint(loc) if kind == "dict_type" else _list_hint(loc, None)
    return f"write {_KEYS[str(loc[-1])]}" if str(loc[-1]) in _KEYS else "write a value"


def _text_hint(loc: Loc, value: Any) -> str:
    if "subnets" in loc[-2:]:
        return f"write {_KEYS['subnets']}"
    if isinstance(value, bool | int) and loc[-1] not in ("address", "cidr"):
        return f'quote it: "{quoted(value)[1:-1]}"'
    return f"write {_KEYS[str(loc[-1])]}" if str(loc[-1]) in _KEYS else "write one text"


def _list_hint(loc: Loc, value: Any) -> str:
    if isinstance(value, str) and value.isprintable() and len(value) < 200:
        return f"write [{', '.join(_words(value))}]"
    return f"write {_LISTS.get(str(loc[-1]), '[h1, h2]')}"


def _words(text: str) -> list[str]:
    """A command line as items of a YAML flow list."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    return [word if _PLAIN.fullmatch(word) else json.dumps(word) for word in words]


def _mapping_hint(loc: Loc) -> str:
    if not loc:
        return "begin with name: demo"
    if len(loc) == 1:
        return f"write {_SECTIONS.get(str(loc[0]), '{...}')}"
    if len(loc) == 2 and loc[0] in _ITEMS:
        return f"write {quoted(loc[1])[1:-1]}: {_ITEMS[str(loc[0])]}"
    return f"write {_KEYS.get(str(loc[-1]), '{...}')}"

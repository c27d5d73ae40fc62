"""Findings for pydantic's errors: a message in our own words, and a hint with an example. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from provision.inventory.known_keys import known_keys
from provision.model.documents import LIST, MAPPING, TEXT, Document
from provision.model.findings import KEY, BadValueError, Finding, Loc
from provision.model.suggest import did_you_mean, nearest
from provision.model.text import quoted

# What other tools call our keys.
_OTHER_NAMES = {
    "environment": "env",
    "ip": "address",
    "ansible_host": "address",
    "name": "container",
    "subnet": "cidr",
    "type": "method",
    "driver": "method",
}
_OF_SSH = ("port", "user", "key")
# Examples for hints, by key.
_SECTIONS = {
    "ssh": "ssh: {user: root}",
    "hosts": "hosts: {h1: {address: 10.0.0.11}}",
    "hosts_from": "hosts_from: ansible-hosts.yml",
    "compose": "compose: [{file: shop/compose.yaml, project: shop, network: blue}]",
    "groups": "groups: {edge: [h1]}",
    "networks": "networks: {blue: {method: routes, cidr: 172.20.0.0/16}}",
    "containers": "containers: {web: {host: h1, network: blue}}",
    "guests": "guests: {shop: {host: h1, container: shop-web-1, network: blue}}",
}
_ITEMS = {
    "hosts": "{address: 10.0.0.11}",
    "groups": "[h1, h2]",
    "networks": "{method: routes, cidr: 172.20.0.0/16}",
    "containers": "{host: h1, network: blue}",
    "guests": "{host: h1, container: shop-web-1, network: blue}",
}
_LISTS = {
    "command": '[sleep, "3600"]',
    "ports": '["8080:80"]',
    "volumes": '["/srv/web:/www:ro"]',
    "interfaces": "[{network: lan, address: 10.78.0.245/24}]",
    "addresses": '[10.78.0.245/24, "fd00::245/64"]',
    "only": "[lab]",
    "access": "[hosts, 10.9.0.0/16]",
    "aliases": "[www]",
    "networks": "[red]",
    "service": "web",
    "routes": "[{to: 10.9.0.0/16, via: 10.78.0.1}]",
    "entrypoint": '[/bin/app, "--verbose"]',
    "env_file": "[shop.env]",
    "depends_on": "[db]",
    "cap_add": "[NET_ADMIN]",
    "cap_drop": "[ALL]",
    "devices": "[/dev/ttyUSB0]",
    "group_add": "[video]",
    "security_opt": '["no-new-privileges:true"]',
    "test": '[CMD-SHELL, "wget -q -O- localhost"]',
    "compose": "[{file: shop/compose.yaml, hosts: {web: h1}, network: blue}]",
    "rules": "[{source: 10.78.0.245/32, table: 100, priority: 1000}]",
}
_KEYS = {
    "name": "name: demo",
    "address": "address: 10.0.0.11",
    "method": "method: routes",
    "cidr": "cidr: 172.20.0.0/16",
    "host": "host: h1",
    "network": "network: blue",
    "container": "container: shop-web-1",
    "label": "label: com.docker.compose.service=db",
    "archive": "archive: image.tar",
    "file": "file: hosts.ini",
    "image": "image: busybox or image: {archive: image.tar}",
    "env": "env: {COLOUR: blue}",
    "labels": "labels: {com.example.role: web}",
    "healthcheck": 'healthcheck: {test: [CMD, "true"], interval: 30s}',
    "sysctls": "sysctls: {net.core.somaxconn: 1024}",
    "ulimits": "ulimits: {nofile: 65535}",
    "logging": "logging: {driver: json-file, options: {max-size: 10m}}",
    "extra_hosts": "extra_hosts: {db.example: 10.0.0.5}",
    "tmpfs": 'tmpfs: {/run: "size=64m"}',
    "shm_size": "shm_size: 64m",
    "mem_limit": "mem_limit: 512m",
    "cpus": 'cpus: "1.5"',
    "subnets": "subnets: {h1: 172.20.0.0/24}",
    "etcd": "etcd: {members: [h1, h2, h3]}",
    "subnet_min": "subnet_min: 172.16.0.0",
    "subnet_max": "subnet_max: 172.16.255.0",
    "to": "to: 10.9.0.0/16",
    "table": "table: 100",
    "priority": "priority: 1000",
}
# Examples for keys of `compose` that other items of the file have as well.
_COMPOSE = {
    "file": "file: shop/compose.yaml",
    "project": "project: shop",
    "hosts": "hosts: {web: h1, api: [h2, h3]}",
}
# Text that a YAML flow list takes as it is.
_PLAIN = re.compile(r"(?!(?:true|false|null)$)-{0,2}[A-Za-z/_][\w/.=-]*", re.IGNORECASE)


def finding(error: Mapping[str, Any], base: Loc, schema: type[Document] | None) -> Finding:
    """The finding for an entry of pydantic's `ValidationError.errors()`.

    `base` leads to the value that was validated, and `schema` is its document, if it has one.
    """
    path = tuple(step for step in error["loc"] if step not in (TEXT, LIST, MAPPING))
    loc = base + path
    kind, value = error["type"], error["input"]
    if kind == "value_error":
        cause = error["ctx"]["error"]
        return Finding(loc, str(cause), cause.hint if isinstance(cause, BadValueError) else "")
    if kind == "missing":
        return Finding((*loc[:-1], KEY), *_missing(loc))
    if kind == "extra_forbidden":
        keys = known_keys(schema, path[:-1]) if schema else ()
        return Finding((*loc, KEY), f"unknown key {quoted(loc[-1])}", _key_hint(loc, keys))
    if kind == "literal_error":
        return Finding(loc, *_literal(loc, value, error["ctx"]["expected"]))
    if "env" in loc[2:4] and value is not None:
        return Finding(loc, *_secret(loc, value))
    return Finding(loc, *_type(kind, loc, value))


def _key_hint(loc: Loc, keys: Iterable[str]) -> str:
    """What to write instead of an unknown key; `keys` are those that are known here."""
    key, known = str(loc[-1]), tuple(keys)
    if key in _OF_SSH and "ssh" in known:
        return f"write ssh: {{{key}: …}}"
    our_key = _OTHER_NAMES.get(key, "")
    return (
        f"did you mean {quoted(our_key)}?" if our_key in known else did_you_mean(key, known, "keys")
    )


def _secret(loc: Loc, value: Any) -> tuple[str, str]:
    """Message and hint for a value that may be a password, without the value."""
    types = {list: "a list", dict: "a mapping", str: "text", bool: "true or false"}
    type_name = types.get(type(value), "a number")
    if loc[-1] == "env":
        return f"'env' must be a mapping, not {type_name}", _mapping_hint(loc)
    hint = "write text" if isinstance(value, list) else "quote it"
    return f"{_label(loc)} must be text, not {type_name}", hint


def _label(loc: Loc) -> str:
    """The name of an entry in a message."""
    if not loc:
        return "an inventory"
    last = loc[-1]
    return f"item {last + 1} of '{loc[-2]}'" if isinstance(last, int) else quoted(last)


def _missing(loc: Loc) -> tuple[str, str]:
    key = str(loc[-1])
    example = _example(loc) or _SECTIONS.get(key, "")
    parent = "" if len(loc) < 2 else f" in {_label(loc[:-1])}"
    return f"{_label(loc)} is missing{parent}", f"write {example}" if example else ""


def _literal(loc: Loc, value: Any, expected: str) -> tuple[str, str]:
    """`expected` is pydantic's text of the choices: 'no', 'always' or 'on-failure'."""
    choices = tuple(re.findall(r"'([^']*)'", expected))
    if not isinstance(value, str):
        return f"{_label(loc)} cannot be {_describe(value)}", f"write {_alternatives(choices)}"
    match = nearest(value, choices)
    hint = f"did you mean {quoted(match)}?" if match else f"write {_alternatives(choices)}"
    return f"{_label(loc)} cannot be {quoted(value)}", hint


def _alternatives(choices: tuple[str, ...]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _type(kind: str, loc: Loc, value: Any) -> tuple[str, str]:
    """Message and hint for a value of the wrong type; `kind` is pydantic's name of the error."""
    if value is None and loc:
        return f"{_label(loc)} is empty", _empty_hint(kind, loc)
    if kind == "string_type":
        return f"{_label(loc)} must be text, not {_describe(value)}", _text_hint(loc, value)
    if kind == "int_type":
        number = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value)
        hint = "remove the quotes" if number and str(int(value)) == value else "write digits only"
        return f"{_label(loc)} must be a whole number, not {_describe(value)}", hint
    if kind == "bool_type":
        return f"{_label(loc)} must be true or false, not {_describe(value)}", "write true or false"
    if kind in ("list_type", "tuple_type"):
        return f"{_label(loc)} must be a list, not {_describe(value)}", _list_hint(loc, value)
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{_label(loc)} must be a mapping, not {_describe(value)}", _mapping_hint(loc)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        hint = f"write {_example(loc) or 'text'}"
        return f"{_label(loc)} cannot be {_describe(value)}", hint
    return f"{_label(loc)} cannot be {_describe(value)}", ""


def _describe(value: Any) -> str:
    """A value for a message: its type, and the value itself where it is short."""
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
    return f"write {_example(loc) or 'a value'}"


def _example(loc: Loc) -> str | None:
    """An example of the entry; None: there is none."""
    if loc[0] != "compose":
        return _KEYS.get(str(loc[-1]))
    if "hosts" in loc[2:-1]:
        return "a host, or a list like [h1, h2]"
    return _COMPOSE.get(str(loc[-1])) or _KEYS.get(str(loc[-1]))


def _text_hint(loc: Loc, value: Any) -> str:
    if "subnets" in loc[-2:]:
        return f"write {_KEYS['subnets']}"
    if isinstance(value, bool | int) and loc[-1] not in ("address", "cidr"):
        return f'quote it: "{quoted(value)[1:-1]}"'
    return f"write {_example(loc) or 'text'}"


def _list_hint(loc: Loc, value: Any) -> str:
    example = _LISTS.get(str(loc[-1]), "[h1, h2]")
    if example.startswith("[{"):
        return f"write {example}"
    if isinstance(value, str) and value.isprintable() and len(value) < 200:
        return f"write [{', '.join(_list_items(value))}]"
    return f"write {example}"


def _list_items(text: str) -> list[str]:
    """The arguments of a command line as items of a YAML flow list."""
    try:
        arguments = shlex.split(text)
    except ValueError:
        arguments = text.split()
    return [item if _PLAIN.fullmatch(item) else json.dumps(item) for item in arguments]


def _mapping_hint(loc: Loc) -> str:
    if not loc:
        return "begin with name: demo"
    if len(loc) == 1:
        return f"write {_SECTIONS.get(str(loc[0]), '{...}')}"
    if len(loc) == 2 and loc[0] in _ITEMS:
        return f"write {quoted(loc[1])[1:-1]}: {_ITEMS[str(loc[0])]}"
    if isinstance(loc[-1], int):
        return f"write {_LISTS.get(str(loc[-2]), '[{...}]')[1:-1]}"
    return f"write {_example(loc) or '{...}'}"

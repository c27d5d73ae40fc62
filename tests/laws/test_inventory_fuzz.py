"""Law: any file is an inventory or gets findings with places, quickly, and never a traceback."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.inventory.load import load
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory

HOSTS = ("h1", "h2", "h3", "h4")
Path_ = tuple[str | int, ...]


@st.composite
def inventories(draw: st.DrawFn) -> dict[str, Any]:
    """Valid inventories, as the data that YAML would give."""
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=2, unique=True))
    networks = {name: draw(_network(hosts, k)) for k, name in enumerate(("blue", "red", "green"))}
    members = {name: network.get("hosts", hosts) for name, network in networks.items()}
    names = draw(st.lists(st.from_regex(r"[a-z][a-z0-9]{1,6}", fullmatch=True), unique=True))
    containers = {}
    for name in names[:4]:
        network = draw(st.sampled_from(sorted(networks)))
        host = draw(st.sampled_from(members[network]))
        containers[name] = {"host": host, "network": network, **draw(_OPTIONAL)}
    return {
        "name": draw(st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)),
        "ssh": draw(st.fixed_dictionaries({}, optional={"user": st.just("root"), "port": PORT})),
        "hosts": {host: {"address": f"10.78.0.{k + 11}"} for k, host in enumerate(hosts)},
        "groups": {"edge": hosts[:1]},
        "networks": networks,
        "containers": containers,
    }


# Without control characters, and without what YAML 1.1 takes for the end of a line.
PRINTED = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp"))
PORT = st.integers(1, 65535)
_OPTIONAL = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["busybox", "nginx:1.27"]),
        "command": st.lists(st.text(PRINTED)),
        "restart": st.sampled_from(["no", "always", "on-failure", "unless-stopped"]),
    },
)


@st.composite
def _network(draw: st.DrawFn, hosts: list[str], k: int) -> dict[str, Any]:
    members = st.lists(st.sampled_from(hosts), min_size=2, unique=True)
    optional = {
        "hosts": members,
        "subnet_size": st.integers(20, 29),
        "mtu": st.integers(576, 65535),
        "egress": st.sampled_from(["masquerade", "none"]),
    }
    keys = draw(st.fixed_dictionaries({}, optional=optional))
    return {"method": "routes", "cidr": f"172.{20 + k}.0.0/16", **keys}


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70_000),
    st.text(max_size=20),
    st.sampled_from(
        [
            "h1",
            "edge",
            "blue",
            "docker0",
            "172.20.0.0/16",
            "172.20.0.5",
            "10.78.0.11",
            "10.0.0.0/8",
            "::1",
            "[key]",
            "<text>",
            "<mapping>",
            "host",
            "all",
            "-x",
            "../x",
            "a\nb",
            "\x1b[31m",
            "é" * 100,
        ]
    ),
    st.lists(st.integers() | st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=8), st.none() | st.text(max_size=5), max_size=3),
)


def _nodes(data: Any, at: Path_ = ()) -> Iterator[Path_]:
    yield at
    items = data.items() if isinstance(data, dict) else enumerate(data) if _list(data) else ()
    for key, value in items:
        yield from _nodes(value, (*at, key))


def _list(data: Any) -> bool:
    return isinstance(data, list)


def _mutated(data: Any, at: Path_, odd: Any, how: str) -> Any:
    """The data with one node replaced, removed, renamed or given one entry more."""
    if not at:
        return odd
    data = deepcopy(data)
    parent = data
    for step in at[:-1]:
        parent = parent[step]
    last = at[-1]
    if how == "remove":
        del parent[last]
    elif how == "rename" and isinstance(parent, dict):
        parent[odd if isinstance(odd, str) else json.dumps(odd)] = parent.pop(last)
    elif how == "add" and isinstance(parent[last], dict):
        parent[last][odd if isinstance(odd, str) else json.dumps(odd)] = odd
    else:
        parent[last] = odd
    return data


def _read(content: bytes) -> Inventory | InventoryError:
    """Loads, and holds what is promised of every refusal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_bytes(content)
        started = time.process_time()
        try:
            return load(path)
        except InventoryError as error:
            assert error.findings
            for finding in error.findings:
                assert finding.message.isprintable() and finding.hint.isprintable(), finding
                assert 0 <= finding.position.line <= content.count(b"\n") + 2
                str(error).encode()
            return error
        finally:
            assert time.process_time() - started < 3


@settings(max_examples=60, deadline=None)
@given(inventories())
def test_valid_inventories_load(data: dict[str, Any]) -> None:
    found = _read(json.dumps(data, indent=1, ensure_ascii=False).encode())
    assert isinstance(found, Inventory), str(found)
    assert list(found.hosts) == list(data["hosts"])
    for name, network in found.networks.items():
        assert network.hosts == tuple(data["networks"][name].get("hosts", data["hosts"]))
        assert all(subnet.subnet_of(network.cidr) for subnet in network.subnets.values())
    for name, container in found.containers.items():
        command = data["containers"][name].get("command")
        assert command is None or container.command == tuple(command)
    again = _read(json.dumps(data, ensure_ascii=False).encode())
    assert isinstance(again, Inventory)
    assert replace(again, path=found.path) == found


@settings(max_examples=300, deadline=None)
@given(inventories(), st.data(), ODD, st.sampled_from(["replace", "remove", "rename", "add"]))
def test_one_odd_node_is_told_with_its_place(
    data: dict[str, Any], choice: st.DataObject, odd: Any, how: str
) -> None:
    at = choice.draw(st.sampled_from(list(_nodes(data))))
    found = _read(json.dumps(_mutated(data, at, odd, how), indent=1, ensure_ascii=False).encode())
    if isinstance(found, InventoryError):
        assert all(finding.position.line and finding.position.column for finding in found.findings)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text("[]{}:,-?&*!|>'\"%@` \n\t#ah1~<", max_size=80).map(str.encode)
)
def test_any_bytes_are_told(content: bytes) -> None:
    assert isinstance(_read(content), InventoryError)


@settings(max_examples=150, deadline=None)
@given(inventories(), st.data(), st.text("[]{}:,-?&*!|>'\"%@` \n\t#a1~<\0\x85\u2028", max_size=3))
def test_any_typing_error_is_told(data: dict[str, Any], choice: st.DataObject, typed: str) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=False)
    at = choice.draw(st.integers(0, len(text)))
    cut = choice.draw(st.integers(0, 3))
    _read((text[:at] + typed + text[at + cut :]).encode())

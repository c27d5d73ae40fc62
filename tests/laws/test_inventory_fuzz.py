"""Law: any file is an inventory, or quickly gets findings with positions."""

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
    """The data of a valid inventory, as YAML would give it."""
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


# Without control characters, and without the line ends of YAML 1.1.
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
    """The path of every node of the data."""
    yield at
    items = data.items() if isinstance(data, dict) else enumerate(data) if _list(data) else ()
    for key, value in items:
        yield from _nodes(value, (*at, key))


def _list(data: Any) -> bool:
    return isinstance(data, list)


def _mutated(data: Any, at: Path_, odd: Any, mutation: str) -> Any:
    """The data with one node replaced, removed or renamed, or with one more entry."""
    if not at:
        return odd
    data = deepcopy(data)
    parent = data
    for step in at[:-1]:
        parent = parent[step]
    last = at[-1]
    if mutation == "remove":
        del parent[last]
    elif mutation == "rename" and isinstance(parent, dict):
        parent[odd if isinstance(odd, str) else json.dumps(odd)] = parent.pop(last)
    elif mutation == "add" and isinstance(parent[last], dict):
        parent[last][odd if isinstance(odd, str) else json.dumps(odd)] = odd
    else:
        parent[last] = odd
    return data


def _read(content: bytes) -> Inventory | InventoryError:
    """Load a file within 3 s; each finding is printable and has a line of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_bytes(content)
        begin = time.process_time()
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
            assert time.process_time() - begin < 3


@settings(max_examples=60, deadline=None)
@given(inventories())
def test_a_valid_inventory_loads(data: dict[str, Any]) -> None:
    """Its hosts, subnets and commands are those of the data, whatever the layout of the file."""
    inventory = _read(json.dumps(data, indent=1, ensure_ascii=False).encode())
    assert isinstance(inventory, Inventory), str(inventory)
    assert list(inventory.hosts) == list(data["hosts"])
    for name, network in inventory.networks.items():
        assert network.hosts == tuple(data["networks"][name].get("hosts", data["hosts"]))
        assert all(subnet.subnet_of(network.cidr) for subnet in network.subnets.values())
    for name, container in inventory.containers.items():
        command = data["containers"][name].get("command")
        assert command is None or container.command == tuple(command)
    one_line = _read(json.dumps(data, ensure_ascii=False).encode())
    assert isinstance(one_line, Inventory)
    assert replace(one_line, path=inventory.path) == inventory


@settings(max_examples=300, deadline=None)
@given(inventories(), st.data(), ODD, st.sampled_from(["replace", "remove", "rename", "add"]))
def test_one_odd_node_is_accepted_or_reported_with_its_position(
    data: dict[str, Any], choice: st.DataObject, odd: Any, mutation: str
) -> None:
    """Each finding has a line and a column."""
    at = choice.draw(st.sampled_from(list(_nodes(data))))
    text = json.dumps(_mutated(data, at, odd, mutation), indent=1, ensure_ascii=False)
    result = _read(text.encode())
    if isinstance(result, InventoryError):
        positions = [finding.position for finding in result.findings]
        assert all(position.line and position.column for position in positions)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text("[]{}:,-?&*!|>'\"%@` \n\t#ah1~<", max_size=80).map(str.encode)
)
def test_any_bytes_are_refused(content: bytes) -> None:
    """No random bytes are an inventory."""
    assert isinstance(_read(content), InventoryError)


@settings(max_examples=150, deadline=None)
@given(inventories(), st.data(), st.text("[]{}:,-?&*!|>'\"%@` \n\t#a1~<\0\x85\u2028", max_size=3))
def test_any_typing_error_is_accepted_or_reported(
    data: dict[str, Any], choice: st.DataObject, typed: str
) -> None:
    """A few characters of a valid file are replaced by others."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    at = choice.draw(st.integers(0, len(text)))
    cut = choice.draw(st.integers(0, 3))
    _read((text[:at] + typed + text[at + cut :]).encode())

"""CONTRIBUTING.md against the code: the table of folders, and the example and tables of a kind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from provision.engine.plan import plan
from provision.resources import script
from provision.resources.base import Origin, Resource, State, state
from provision.resources.on_hosts import Mark
from provision.transport.base import Output
from tests.house.test_structure import LAYERS, ROOT
from tests.probes.capture import capture

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
MODULE = "plain_bridge_of_contributing"
# iproute2 6.1 prints {} for each link that `type bridge` leaves out.
PRINTED = json.dumps(
    [
        {},
        {"ifname": "br0", "mtu": 1400, "ifalias": "provision:demo/blue"},
        {"ifname": "br1", "mtu": 1500, "ifalias": "provision:second/blue"},
        {"ifname": "docker0", "mtu": 1500},
    ]
)


def section(title: str) -> str:
    """The text of one section of CONTRIBUTING.md."""
    _, _, rest = TEXT.partition(f"\n## {title}\n")
    assert rest, f"CONTRIBUTING.md has no section {title}"
    return rest.partition("\n## ")[0]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The class of the example in "Write a kind"."""
    source = re.search(r"```python\n(.*?)```", section("Write a kind"), re.S)
    assert source is not None
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module  # dataclasses look up the module of their annotations
    exec(compile(source[1], "CONTRIBUTING.md", "exec"), module.__dict__)  # noqa: S102
    yield module.PlainBridge  # type: ignore[attr-defined]
    del sys.modules[MODULE]


def parsed(example: Any, inventory: str) -> dict[str, tuple[Resource, bool]]:
    """The resources in PRINTED by name, each with True if it has the inventory's mark."""
    origin = Origin("h1", inventory)
    return {
        entry.resource.name: (entry.resource, entry.ours)
        for entry in example.parse(PRINTED, origin)
    }


def test_the_table_of_folders_agrees_with_the_layers() -> None:
    """Each row has the same folders."""
    rows: dict[int, list[str]] = {}
    for row, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", section("Architecture"), re.M):
        rows.setdefault(int(row), []).append(name)
    assert [sorted(rows[row]) for row in sorted(rows)] == [sorted(names) for names in LAYERS]


def test_the_example_kind_parses_what_it_creates(example: Any) -> None:
    """A bridge with the inventory's mark is ours; with another mark or without one it is not."""
    bridge = example("h1", "br0", 1400, Mark("demo", "blue"))
    assert parsed(example, "demo")["br0"] == (bridge, True)
    assert [ours for _, ours in parsed(example, "demo").values()] == [True, False, False]
    assert parsed(example, "second")["br1"][1]


def test_the_example_kind_is_planned(example: Any) -> None:
    """The plan creates it, leaves it, updates it in place, and removes it."""
    bridge, larger = (example("h1", "br0", mtu, Mark("demo", "blue")) for mtu in (1400, 1500))

    def verbs(before: State, after: State) -> list[str]:
        return [change.verb for change in plan(before, after).changes]

    small, large = state([bridge]), state([larger])
    assert verbs({}, small) == ["create"]
    assert verbs(small, small) == []
    assert verbs(small, large) == ["update"]
    assert verbs(small, {}) == ["delete"]


def test_the_shell_of_the_example_kind_is_correct(example: Any) -> None:
    """`sh -n` reads its probe, its fingerprint and its rendered steps."""
    bridge = example("h1", "br0", 1400, Mark("demo", "blue"))
    texts = [example.probe, example.fingerprint]
    texts += [script.standalone([steps]) for steps in (bridge.create(), bridge.delete())]
    for text in texts:
        process = subprocess.run(("sh", "-n"), input=text, text=True, capture_output=True)
        assert process.returncode == 0, process.stderr


def test_the_tables_of_a_kind_name_every_member() -> None:
    """The page explains exactly the members that a kind may define."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Write a kind"), re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    members = {name for name in {*vars(Resource), *Resource.__annotations__} if name[0] != "_"}
    assert named == members - {"ref", "host"}


def test_the_paths_of_contributing_exist() -> None:
    """The files and folders that the page names exist."""
    named = re.findall(r"`((?:tests|scripts|templates|provision)/[\w./-]*\w/?)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


class Printer:
    """A transport whose host prints the name of each part that a script asks for."""

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:  # noqa: ARG002
        parts = re.findall(r"'\\n@(\w+) begin (\w+)\\n'", script)
        lines = (
            f"\n@{nonce} begin {name}\nof {name}\n@{nonce} end {name} 0" for nonce, name in parts
        )
        return Output(0, "\n".join(lines) + "\n", "")


def test_the_capture_command_writes_the_output_of_one_kind() -> None:
    """The command under "Tests" of a kind separates the kind's output from the others."""
    assert capture(Printer(), "h1", "demo", "route") == "of route"  # type: ignore[arg-type]

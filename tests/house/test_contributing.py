"""CONTRIBUTING.md against the code: the table of folders, and the examples and tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from provision import methods
from provision.engine import desired, preflight
from provision.engine.plan import plan
from provision.inventory.json_schema import json_schema
from provision.inventory.load import load
from provision.inventory.schema import network_document
from provision.methods import Method
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.resources import script
from provision.resources.base import Origin, Resource, State, state
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.on_hosts import Mark
from provision.transport.base import Output
from tests.cases.test_cases import facts
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


INVENTORY = """
name: demo
hosts:
  h1: {address: 10.78.0.11}
  h2: {address: 10.78.0.12}
networks:
  blue: {method: upstream, cidr: 172.20.0.0/16, router: 10.78.0.1}
containers:
  c1: {host: h1, network: blue}
"""


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inventory]:
    """An inventory of the method in "Write a method", whose file is in provision/methods/."""
    source = re.search(r"```python\n(.*?)```", section("Write a method"), re.S)
    assert source is not None
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "upstream.py").write_text(source[1])
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    caches = (methods.names, methods.named, methods._modules, network_document)
    for cached in caches:
        cached.cache_clear()
    path = tmp_path / "inventory.yml"
    path.write_text(INVENTORY)
    yield load(path)
    sys.modules.pop("provision.methods.upstream")
    for cached in caches:
        cached.cache_clear()


def test_the_example_method_is_planned(upstream: Inventory) -> None:
    """Each host gets a Docker network for its subnet, and its container is put on it."""
    hosts = facts(upstream, {"docker": {"h1": "26.1.5", "h2": "28.5.2"}, "via": ROUTED})
    assert not preflight.problems(upstream, hosts)
    changes = plan({}, desired.wanted(upstream, hosts)).changes
    created = [(c.ref.kind, c.ref.name) for c in changes if c.ref.host == "h1"]
    assert ("docker_network", "blue") in created and ("container", "c1") in created
    assert {kind for kind, _ in created} >= {"sysctl", "iptables_chain", "systemd_unit"}
    (network,) = [c.after for c in changes if c.ref == ("h2", "docker_network", "blue")]
    assert isinstance(network, DockerNetwork) and str(network.subnet) == "172.20.1.0/24"


ROUTED = {"h1": "10.78.0.1", "h2": "10.78.0.1"}


def test_the_example_method_judges_hosts_and_files(upstream: Inventory) -> None:
    """A peer behind another router is a problem; its key is in the schema and in messages."""
    found = {"docker": {"h1": "26.1.5", "h2": "26.1.5"}, "via": {**ROUTED, "h1": "10.78.0.2"}}
    (problem,) = preflight.problems(upstream, facts(upstream, found))
    assert problem.message == "10.78.0.12 is reached through 10.78.0.2, not through 10.78.0.1"
    upstream.path.write_text(INVENTORY.replace("router:", "rooter:"))
    with pytest.raises(InventoryError, match="unknown key 'rooter'; did you mean 'router'"):
        load(upstream.path)
    networks = json_schema()["properties"]["networks"]["additionalProperties"]["oneOf"]
    (schema,) = [n for n in networks if n["properties"]["method"]["const"] == "upstream"]
    assert schema["properties"]["router"]["description"].startswith("router that leads")


def test_the_table_of_a_method_names_every_member() -> None:
    """What a method may define is what the section explains."""
    text = section("Write a method")
    named = set(re.findall(r"`(\w+)`", text))
    members = {name for name in {*vars(Method), *Method.__annotations__} if name[0] != "_"}
    assert members <= named | {"name", "Options", "desired"}
    cells = re.findall(r"^\| (`\w+`[^|]*) \|", text.partition("| member |")[2], re.M)
    in_table = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert members - in_table == {"name", "Options", "desired", "documents", "networks"}
    assert in_table <= members


def test_the_example_method_passes_lint_and_types(tmp_path: Path) -> None:
    """A reader may copy it as it is."""
    source = re.search(r"```python\n(.*?)```", section("Write a method"), re.S)
    assert source is not None
    path = tmp_path / "upstream.py"
    path.write_text(source[1])
    for command in (
        ("ruff", "check", f"--config={ROOT / 'pyproject.toml'}", str(path)),
        ("ruff", "format", "--check", f"--config={ROOT / 'pyproject.toml'}", str(path)),
        ("mypy", f"--config-file={ROOT / 'pyproject.toml'}", str(path)),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


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
    assert capture(Printer(), "h1", "demo", "routes") == "of routes"  # type: ignore[arg-type]

"""The house: who may import whom, what every shelf's module offers, lint and types."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from provision import methods
from provision.inventory.load import load
from provision.resources.kinds import all_kinds

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "provision"
ACTING = {
    "cli",
    "commands",
    "ssh",
    "trust",
    "local",
    "fleet",
    "engine",
    "fate",
    "transaction",
    "recovery",
    "journal",
    "checks",
    "comparison",
    "lab",
    # These read the inventory's file and what it names, and nothing else.
    "inventory_load",
    "regular_file",
    "saved_image",
    "ssh_key",
    # What only this machine holds: a program for hosts, and the authority of their certificates.
    "flanneld",
    "pki",
    "supplies",
}
FORBIDDEN = {"subprocess", "socket", "time", "os", "threading", "fabric", "paramiko", "testinfra"}
LOWER_FIRST = (
    ("errors", "address", "resource", "render", "hostfacts", "inventory", "transport", "script"),
    ("etcd_keys",),
    ("resources",),
    ("host_part",),
    ("flannel",),
    ("methods",),
    ("desired", "plan", "facts", "preflight", "report", "undo", "guard", "fate", "journal"),
    ("fleet",),
    ("show",),
    ("graph",),
    ("flanneld", "pki"),
    ("supplies",),
    ("transaction",),
    ("recovery",),
    ("engine",),
    ("checks", "ssh", "local"),
    ("comparison", "trust"),
    ("commands",),
    ("cli",),
)


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_templates" not in path.parts)


def room(path: Path) -> str:
    """The first name below the package: a module's, or its folder's."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, dotted, also those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_pure_rooms_import_nothing_that_acts() -> None:
    """No clock, process, socket or environment outside the acting rooms."""
    wrong = [
        (path.name, name)
        for path in modules()
        if room(path) not in ACTING
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN
        or name in ("provision.transport.ssh", "provision.transport.local")
    ]
    assert not wrong


def test_only_ssh_imports_fabric_and_paramiko() -> None:
    """One room maps their errors and pins host keys."""
    users = {
        room(path)
        for path in modules()
        if {name.split(".")[0] for name in imports(path)} & {"fabric", "paramiko"}
    }
    assert users <= {"ssh", "ssh_key"}
    assert "ssh" in users


def test_imports_go_down_only() -> None:
    """A lower room never imports a higher one."""
    level = {name: number for number, names in enumerate(LOWER_FIRST) for name in names}
    wrong = []
    for path in modules():
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "provision" or len(parts) < 2:
                continue
            here, there = level.get(room(path)), level.get(parts[1])
            if here is not None and there is not None and there > here:
                wrong.append((path.name, name))
    # A standing script is steps → text, which `desired` needs; `in_order` is the plan's.
    assert not wrong


def test_every_kind_is_on_the_shelf_and_whole() -> None:
    """Each module of `resources` gives a kind with a probe, a parser and a life."""
    files = {path.stem for path in (PACKAGE / "resources").glob("*.py")} - {"__init__"}
    assert {kind.__module__.rsplit(".", 1)[1] for kind in all_kinds()} == files
    names = [kind.kind for kind in all_kinds()]
    assert len(names) == len(set(names))
    for kind in all_kinds():
        assert kind.probe.strip()
        for needed in ("witness", "parse", "create", "delete"):
            assert needed in vars(kind), (kind.kind, needed)
        assert kind.__doc__


def test_every_method_is_whole_and_has_an_example() -> None:
    """What CONTRIBUTING says of a new method holds for each."""
    used = {
        network.method
        for path in (ROOT / "inventories").glob("*.yml")
        for network in load(path).networks.values()
    }
    assert methods.names()
    for name in methods.names():
        method = methods.named(name)
        for needed in ("Options", "desired", "findings", "mtu", "attachment"):
            assert hasattr(method, needed), (name, needed)
        assert name in used, f"no inventory shows {name}"
        assert (ROOT / "docs" / f"{name}.md").is_file()


def test_every_template_parses() -> None:
    """A syntax error in a template is found before a host sees it."""
    folder = ROOT / "templates"
    environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined)
    environment.filters["quote"] = str
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    for path in found:
        environment.get_template(str(path.relative_to(folder)))


def test_no_file_outgrows_its_room() -> None:
    """A room that grows this long wants a second one."""
    long = {path.name: n for path in modules() if (n := len(path.read_text().splitlines())) > 320}
    assert not long


def test_nothing_of_this_machine_is_in_the_project() -> None:
    """No registry's host, and no path of a developer's machine."""
    words = ["/" + "work/", "deb." + "debian.org", "pypi." + "org", "snapshot." + "debian"]
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    found = [
        (name, word)
        for name in filter(None, listed)
        if (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(errors="replace")
    ]
    assert not found


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
    ],
    ids=" ".join,
)
def test_lint_and_types(command: tuple[str, ...]) -> None:
    """Lint, format and strict types are tests like any other."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_common_path_is_light() -> None:
    """`--help` loads no SSH library, no YAML and no schema library."""
    code = "import sys, provision.cli.main; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"paramiko", "fabric", "yaml", "pydantic", "jinja2", "pytest"} & set(loaded)

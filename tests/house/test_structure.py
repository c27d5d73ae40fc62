"""The structure of `provision/`: allowed imports, complete kinds and methods, lint and types."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_type_hints

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from provision import methods
from provision.inventory.load import load
from provision.model.help import Help
from provision.resources import kinds

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "provision"
LAYERS = (
    ("model",),
    ("resources",),
    ("transport", "lab"),
    ("facts",),
    ("methods",),
    ("inventory", "engine"),
    ("checks", "show"),
    ("compare",),
    ("cli",),
)
"""The folders of `provision/` from the lowest row up; a folder imports only lower rows."""
REGISTRIES = {"cli/main.py", "methods/__init__.py", "resources/kinds/__init__.py"}
"""The modules that may import others by a computed name."""
ACTING = {
    "checks",
    "cli",
    "compare",
    "lab",
    "transport",
    # These act on hosts through a transport, or keep the controller's journal.
    "engine/acting.py",
    "engine/apply.py",
    "engine/arming.py",
    "engine/ending.py",
    "engine/fleet.py",
    "engine/journal.py",
    "engine/recovery.py",
    "engine/rounds.py",
    "engine/status.py",
    "engine/transaction.py",
    # These make files that only the controller has: certificates, secrets and flanneld.
    "engine/artifacts.py",
    "engine/pki.py",
    "engine/preshared.py",
    "methods/flannel/binary.py",
    "methods/flannel/go_build.py",
    "methods/flannel/release.py",
    # The locks of the controller's own files.
    "model/file_lock.py",
    # These read the inventory file and the files that it names.
    "inventory/load.py",
    "inventory/ansible/program.py",
    "inventory/ansible/sources.py",
    "model/fields/files.py",
    "model/fields/image_archives.py",
    "model/fields/secrets.py",
    "model/fields/ssh_keys.py",
}
"""Folders and modules that may use the clock, processes, sockets and the environment."""
FORBIDDEN = {"subprocess", "socket", "time", "os", "threading", "fabric", "paramiko", "testinfra"}


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "_templates" not in path.parts)


def relative(path: Path) -> str:
    """The path of a module below the package."""
    return path.relative_to(PACKAGE).as_posix()


def folder(path: Path) -> str:
    """The folder below the package that holds a module; "" for a file of the package itself."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def may_act(path: Path) -> bool:
    """True if ACTING names the module or its folder."""
    return folder(path) in ACTING or relative(path) in ACTING


def imports(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, also inside functions."""
    return imported(path.read_text())


def imported(source: str) -> set[str]:
    """The dotted names of all modules that a source imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_pure_modules_do_not_act() -> None:
    """Only the modules of ACTING use the clock, processes, sockets or the environment."""
    breaches = [
        (relative(path), name)
        for path in modules()
        if not may_act(path)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN
    ]
    assert not breaches
    known = {relative(path) for path in modules()} | {folder(path) for path in modules()}
    assert known >= ACTING


def test_files_are_locked_in_one_module() -> None:
    """Its callers need no rules of flock(2)."""
    assert {relative(path) for path in modules() if "fcntl" in imports(path)} == {
        "model/file_lock.py"
    }


def test_only_the_ssh_transport_imports_fabric_and_paramiko() -> None:
    """One folder maps their errors and pins host keys. The model lets paramiko parse host keys."""
    users = {
        relative(path)
        for path in modules()
        if {name.split(".")[0] for name in imports(path)} & {"fabric", "paramiko"}
    } - {"model/fields/ssh_keys.py"}
    assert users
    assert all(user.startswith("transport/ssh/") for user in users)


def wrong_imports(files: dict[str, str], folders: set[str]) -> list[str]:
    """Breaches of LAYERS by modules, given as path below the package → source.

    Imports inside functions and under TYPE_CHECKING count like any other.
    """
    row = {name: number for number, names in enumerate(LAYERS) for name in names}
    breaches = [f"{name} is in no row of LAYERS" for name in sorted(folders - set(row))]
    for path, source in files.items():
        importer = path.split("/")[0]
        for name in sorted(imported(source)):
            parts = name.split(".")
            if parts[0] != "provision" or len(parts) < 2 or parts[1] in (importer, "__version__"):
                continue
            if importer in row and row.get(parts[1], len(LAYERS)) >= row[importer]:
                breaches.append(f"{path} imports {name}")
        if path not in REGISTRIES and {"import_module", "__import__"} & mentioned(source):
            breaches.append(f"{path} imports by a computed name")
    return breaches


def mentioned(source: str) -> set[str]:
    """All names and attributes that a source mentions."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return names | {
        alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_folders_import_only_lower_rows() -> None:
    """LAYERS names every folder, and each folder imports only folders of a lower row."""
    files = {relative(path): path.read_text() for path in modules() if folder(path)}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    folders -= {"_templates"}  # in an installed wheel
    assert wrong_imports(files, folders) == []
    assert len(folders) <= 12
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} == {
        "__init__.py",
        "py.typed",
    }


@pytest.mark.parametrize(
    ("files", "breach"),
    [
        ({"attic/box.py": ""}, "attic is in no row of LAYERS"),
        (
            {"model/names.py": "def f():\n    from provision.engine import plan\n"},
            "model/names.py imports provision.engine",
        ),
        (
            {"engine/plan.py": "from provision.inventory.load import load\n"},
            "engine/plan.py imports provision.inventory.load",
        ),
        (
            {"inventory/load.py": "if TYPE_CHECKING:\n    import provision.engine.plan\n"},
            "inventory/load.py imports provision.engine.plan",
        ),
        (
            {"model/names.py": "import importlib\nimportlib.import_module('provision.cli')\n"},
            "model/names.py imports by a computed name",
        ),
    ],
    ids=[
        "folder without a row",
        "upwards in a function",
        "same row",
        "same row, typing",
        "computed",
    ],
)
def test_each_forbidden_import_is_reported(files: dict[str, str], breach: str) -> None:
    """A folder outside LAYERS, an upward import and a computed import are breaches."""
    assert breach in wrong_imports(files, {path.split("/")[0] for path in files})


def asks_for_one_method(path: str, source: str) -> list[str]:
    """Breaches of the contract of methods in a module outside of methods/.

    It may neither import one method, nor compare a method's name, nor look for one method's option.
    """
    folder = PACKAGE / "methods"
    own = {entry.stem for entry in folder.iterdir()} - {"__init__"}
    breaches = [
        f"{path} imports {name}"
        for name in sorted(imported(source))
        if name.startswith("provision.methods.") and name.split(".")[2] in own
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(map(_is_method, [node.left, *node.comparators])):
            texts = [each for each in ast.walk(node) if _is_text(each)]
            breaches += [f"{path}:{node.lineno} compares a method's name"] if texts else []
        if isinstance(node, ast.Match) and _is_method(node.subject):
            breaches.append(f"{path}:{node.lineno} compares a method's name")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            first, second = node.args[:2]
            if _is_text(second) and re.search(r"(options|network|document)\b", ast.unparse(first)):
                breaches.append(f"{path}:{node.lineno} looks for an option by its name")
    return breaches


def _is_method(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "method") or (
        isinstance(node, ast.Name) and node.id == "method"
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_only_methods_know_one_method() -> None:
    """All other folders ask `Method`, so that a new method changes none of them."""
    breaches = [
        breach
        for path in modules()
        if folder(path) != "methods"
        for breach in asks_for_one_method(relative(path), path.read_text())
    ]
    assert not breaches, breaches


@pytest.mark.parametrize(
    "source",
    [
        "from provision.methods.pipework import nic\n",
        "from provision.methods import flannel\n",
        "def f():\n    import provision.methods._shared.lan_pool\n",
        "x = network.method == 'vxlan'\n",
        "x = [n for n in networks if n.method in ('ovs-gre', 'ovs-vxlan')]\n",
        "match network.method:\n    case 'vxlan':\n        pass\n",
        "x = getattr(network.options, 'flanneld', None)\n",
    ],
)
def test_the_test_for_one_method_can_fail(source: str) -> None:
    """Each way to ask for one method is found; asking the registry is allowed."""
    assert asks_for_one_method("engine/x.py", source)
    allowed = "from provision.methods import HostCheck\nx = methods.of(network).tools(network, h)\n"
    assert not asks_for_one_method("engine/x.py", allowed)


def test_no_modules_import_each_other() -> None:
    """The imports of the modules form no circle; imports inside functions count."""
    graph: dict[str, set[str]] = {}
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = imports(path) - {name}
    sorter = TopologicalSorter({name: used & set(graph) for name, used in graph.items()})
    sorter.prepare()  # raises CycleError


def test_every_kind_is_registered_and_complete() -> None:
    """Each module of `resources/kinds` defines a kind with a probe, a parser and its steps."""
    files = {path.stem for path in (PACKAGE / "resources/kinds").glob("*.py")} - {"__init__"}
    assert {kind.__module__.rsplit(".", 1)[1] for kind in kinds.all_kinds()} == files
    names = [kind.kind for kind in kinds.all_kinds()]
    assert len(names) == len(set(names))
    for kind in kinds.all_kinds():
        assert kind.probe.strip()
        for member in ("fingerprint", "parse", "create", "delete"):
            assert member in vars(kind), (kind.kind, member)
        assert kind.__doc__


def test_every_method_has_an_example_a_golden_case_and_a_page() -> None:
    """Each method has the parts that CONTRIBUTING asks of a new one."""
    used = {
        network.method
        for path in (ROOT / "inventories").glob("*.yml")
        for network in load(path).networks.values()
    }
    assert methods.names()
    for name in methods.names():
        assert methods.named(name).name == name
        assert name in used, f"no inventory shows {name}"
        assert [*(ROOT / "tests/cases" / name).glob("*/plan.txt")], f"no golden case of {name}"


@pytest.mark.parametrize("name", methods.names())
def test_every_key_of_a_method_is_described_and_explained(name: str) -> None:
    """By `Help` for editors, and by the method's page or one that the page links to."""
    page = (ROOT / "docs" / f"{name}.md").read_text()
    linked = [ROOT / "docs" / file for file in re.findall(r"\]\((\w[\w-]*\.md)", page)]
    text = "".join([page, *(path.read_text() for path in linked)])
    options = methods.named(name).Options
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        metadata = getattr(hints[field.name], "__metadata__", ())
        assert any(isinstance(each, Help) for each in metadata), field.name
        assert f"`{field.name}" in text, field.name


def test_every_template_parses() -> None:
    """Jinja can parse every template, so no host receives one with a syntax error."""
    folder = ROOT / "templates"
    environment = Environment(loader=FileSystemLoader(folder), undefined=StrictUndefined)
    environment.filters["quote"] = str
    paths = sorted(folder.rglob("*.j2"))
    assert paths
    for path in paths:
        environment.get_template(str(path.relative_to(folder)))


def test_no_module_is_too_long() -> None:
    """A module has at most 320 lines. Split a longer one by topic."""
    long = {path.name: n for path in modules() if (n := len(path.read_text().splitlines())) > 320}
    assert not long


def tracked_files() -> list[str]:
    """The paths of the files that Git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if name]


def test_no_file_names_this_machine() -> None:
    """No file of the project contains a registry's host or a path of a developer's machine."""
    markers = ["/" + "work/", "deb." + "debian.org", "pypi." + "org", "snapshot." + "debian"]
    hits = [
        (name, marker)
        for name in tracked_files()
        if (ROOT / name).is_file()
        for marker in markers
        if marker in (ROOT / name).read_text(errors="replace")
    ]
    assert not hits


def test_the_source_distribution_has_all_that_tests_read() -> None:
    """Only the files of the repository's own tools are missing in it."""
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    included = set(hatch["build"]["targets"]["sdist"]["include"])
    assert {name.split("/")[0] for name in tracked_files()} - included == {
        ".ci",
        ".gitignore",
        "pyproject.toml",  # hatchling adds it
    }


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
    """ruff finds no mistake, every file is formatted, and mypy's strict types are complete."""
    process = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_every_benchmark_can_be_imported() -> None:
    """Nothing else runs those that need hours, so a renamed function would go unseen."""
    names = [path.stem for path in (ROOT / "tests/bench").glob("*.py")]
    code = f"import importlib\nfor name in {names}: importlib.import_module('tests.bench.' + name)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert names and process.returncode == 0, process.stderr


def test_help_loads_no_heavy_library() -> None:
    """`provision --help` imports no SSH, YAML, schema, template or test library."""
    code = "import sys, provision.cli.main; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"paramiko", "fabric", "yaml", "pydantic", "jinja2", "pytest"} & set(loaded)

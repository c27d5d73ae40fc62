"""The pages for users: links, examples, commands, and the tests that they name."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from provision.cli.main import provision
from provision.inventory.load import load
from tests.authority import Authority
from tests.house.test_structure import ROOT

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TESTS = ROOT / "tests"


def name(page: Path) -> str:
    """The path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub forms them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    """No link between the project's own pages is broken."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and (
            not target.exists() or (anchor and anchor not in headings(target))
        ):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_sentence_names_its_subject(page: Path) -> None:
    """No sentence begins with What, Whose, Of or It."""
    prose = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(), flags=re.S)
    sentences = re.findall(r"(?:^|[.!?:]\s+|\| |[-*] )((?:What|Whose|Of|It)\b.{0,40})", prose, re.M)
    assert not sentences


def examples() -> Iterator[tuple[str, str]]:
    """The place and text of every YAML example."""
    for page in PAGES:
        for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)):
            if yaml.safe_load(text) is not None:
                yield f"{name(page)}-{number}", text


def completed(text: str, folder: Path) -> dict[str, Any]:
    """An example as a complete inventory: name, hosts, networks, and the files that it needs."""
    data = yaml.safe_load(text)
    data.setdefault("name", "demo")
    if "hosts_from" not in data:
        data.setdefault("hosts", {f"h{k}": {"address": f"10.78.0.1{k}"} for k in (1, 2, 3)})
    if "interfaces" in text:
        data.setdefault("networks", {"lan": {"method": "pipework", "cidr": "10.78.0.0/24"}})
    lines = "\n".join(f"h{k} ansible_host=10.78.0.1{k}" for k in (1, 2))
    (folder / "hosts.ini").write_text(f"[lab]\n{lines}\n")
    for name in ("secret.txt", "bgp.key"):
        (folder / name).write_text("secret\n")
    if "compose" in data:
        compose = re.findall(r"```yml\n(.*?)```", (ROOT / "docs/compose.md").read_text(), re.S)
        (folder / "shop").mkdir()
        (folder / "shop/compose.yaml").write_text(compose[0])
    if "endpoints" in text:
        Authority(folder / "tls").issue("client")
    if "key" in data.get("ssh", {}):
        (folder / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        (folder / "id").chmod(0o600)
        data["ssh"]["key"] = "id"
    return dict(data)


@pytest.mark.parametrize("text", [text for _, text in examples()], ids=[at for at, _ in examples()])
def test_a_yaml_example_is_a_valid_inventory(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader can copy the example."""
    monkeypatch.setenv("SHOP_LICENCE", "secret")
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(completed(text, tmp_path), sort_keys=False))
    assert load(path).hosts


def commands() -> Iterator[tuple[str, str]]:
    """The place and text of every command line of `provision` in a console example."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
            for line in block.splitlines():
                for text in line.removeprefix("$ ").partition("#")[0].split(" && "):
                    command = text.removeprefix("sudo ").removeprefix(".venv/bin/")
                    if line.startswith("$ ") and command.startswith("provision "):
                        yield f"{name(page)}: {command.strip()}", command


@pytest.mark.parametrize("text", [text for _, text in commands()], ids=[at for at, _ in commands()])
def test_a_command_in_an_example_is_valid(text: str) -> None:
    """Its verbs, options and values are known, and an inventory of the project exists."""
    arguments = shlex.split(text.partition(">")[0])[1:]
    command: click.Command = provision
    context = click.Context(provision, info_name="provision")
    while isinstance(command, click.Group):
        verb = command.get_command(context, arguments.pop(0))
        assert verb is not None, text
        command = verb
    command.make_context(command.name, list(arguments))
    for path in (argument for argument in arguments if argument.startswith("inventories/")):
        assert (ROOT / path).exists(), path


def test_each_guarantee_of_the_safety_page_has_a_test() -> None:
    """Every row of its table names files in `tests/`, or tests in them, that exist."""
    table = (ROOT / "docs/safety.md").read_text().partition("| guarantee |")[2].partition("\n\n")[0]
    cells = [row.rstrip(" |").rpartition(" | ")[2] for row in table.splitlines()[2:]]
    assert len(cells) > 10
    for cell in cells:
        references = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", cell)
        assert references, cell
        for path, function in references:
            text = (TESTS / path).read_text()
            assert not function or f"def {function}(" in text, f"{path} has no {function}"


def _is_full(path: str, function: str) -> bool:
    """True if a test, or cases of it, only run with `--full`."""
    tree = ast.parse((ROOT / path).read_text())
    tests = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert function in tests, f"{path} has no {function}"
    return any("mark.full" in ast.unparse(mark) for mark in tests[function].decorator_list)


def test_each_row_of_managers_has_a_test() -> None:
    """Its last cell names tests that exist, and says whether they run with `--full` only."""
    table = (ROOT / "docs/hosts.md").read_text().partition("| NIC of |")[2].partition("\n\n")[0]
    cells = [row.rstrip(" |").rpartition(" | ")[2] for row in table.splitlines()[2:]]
    assert len(cells) > 10
    for cell in cells:
        references = re.findall(r"`([\w/]+\.py)::(\w+)`", cell)
        assert references, cell
        full = [_is_full(path, function) for path, function in references]
        assert "--full" in cell or not any(full), cell

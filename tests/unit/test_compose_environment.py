"""The variables of a service, and the name of the project among them, as Compose has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.inventory.compose.project import Project, read_project
from tests.compose_program import config

FILES = {
    ".env": "DOT=dot\nFROM_DOT=$DOT-$SHELL_SET\nSHELL_SET=dot\n",
    "one.env": "OVERRIDDEN=file\nUNSET=file\nA=$OWN-$DOT-$SHELL_SET\nOWN=file\nSHELL_SET=file\n",
    "two.env": "B=$A|$SHELL_SET\nDOT\nOWN\nNOWHERE\nC=$COMPOSE_PROJECT_NAME\n",
}
ENVIRONMENT = "environment: [OVERRIDDEN=own, OWN=own, UNSET, FROM_DOT, SHELL_SET]"
ENV_FILE = "env_file: [one.env, two.env]"
EXPECTED = {
    "OVERRIDDEN": "own",
    "OWN": "own",
    "FROM_DOT": "dot-shell",
    "SHELL_SET": "shell",
    "A": "own-dot-shell",
    "B": "own-dot-shell|shell",
    "DOT": "dot",
    "C": "x",
}
OLDER = {"A": "-dot-shell", "B": "-dot-shell|file"}
"""What Compose 2.26 has instead: a file knows no variable of `environment`, and its own win."""


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOT", "UNSET", "OWN", "A", "NOWHERE", "FROM_DOT", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHELL_SET", "shell")


def compose_file(folder: Path, *lines: str, head: str = "") -> Path:
    """A Compose file of one service with these lines, and the files beside it."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    path = folder / "compose.yaml"
    body = "".join(f"    {line}\n" for line in lines)
    path.write_text(f"{head}services:\n  web:\n    image: busybox\n{body}")
    return path


def variables(project: Project) -> Any:
    """The variables of the service."""
    assert not project.findings
    return project.services["web"].keys.get("env", {})


@pytest.mark.parametrize("lines", [(ENVIRONMENT, ENV_FILE), (ENV_FILE, ENVIRONMENT)])
def test_the_order_of_environment_and_env_file_has_no_meaning(
    lines: tuple[str, ...], tmp_path: Path
) -> None:
    """A name without a value anywhere is unset, even if a file sets it."""
    assert variables(read_project(compose_file(tmp_path, *lines), "x")) == EXPECTED


def test_compose_has_the_same_variables(tmp_path: Path) -> None:
    """`docker compose config` has null for one that is unset; older versions differ in files."""
    theirs = config(compose_file(tmp_path, ENVIRONMENT, ENV_FILE))["services"]["web"]
    newer = {**EXPECTED, "UNSET": None}
    assert theirs["environment"] in (newer, newer | OLDER)


NAMED = ("environment: [COMPOSE_PROJECT_NAME, 'D=$COMPOSE_PROJECT_NAME']",)


@pytest.mark.parametrize(
    ("given", "head", "name"),
    [("shop", "name: file\n", "shop"), (None, "name: Fi.le\n", "file"), (None, "", "folder1")],
)
def test_the_name_of_the_project_is_a_variable(
    given: str | None, head: str, name: str, tmp_path: Path
) -> None:
    """The name that containers have, and no other."""
    folder = tmp_path / "_Folder.1"
    folder.mkdir()
    project = read_project(compose_file(folder, *NAMED, head=head), given)
    assert variables(project) == {"COMPOSE_PROJECT_NAME": name, "D": name}
    assert (project.name, project.notes) == (name, [])


def test_compose_exposes_the_same_name(tmp_path: Path) -> None:
    """Its option `-p` is the key `project` of the inventory."""
    path = compose_file(tmp_path, *NAMED, head="name: file\n")
    theirs = config(path)["services"]["web"]["environment"]
    assert theirs == variables(read_project(path, "x"))


def test_a_variable_that_would_name_the_project_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose would name the project by it; containers here keep their names."""
    path = compose_file(tmp_path, *NAMED, head="name: file\n")
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=other\n")
    note = "COMPOSE_PROJECT_NAME does not name the project, which is 'file'"
    for place in (tmp_path / ".env", path):
        project = read_project(path, None)
        assert variables(project) == {"COMPOSE_PROJECT_NAME": "file", "D": "file"}
        assert project.notes == [f"{place}: {note}: write project: NAME in the inventory"]
        assert not read_project(path, "given").notes
        (tmp_path / ".env").unlink(missing_ok=True)
        monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "file")
    assert not read_project(path, None).notes


def test_files_may_be_those_of_an_editor_of_windows(tmp_path: Path) -> None:
    """With a byte order mark, and CR LF at the end of each line."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfservices:\r\n  web: {image: x, environment: [A=$B]}\r\n")
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfB=1\r\n")
    assert variables(read_project(path, "x")) == {"A": "1"}


def test_compose_reads_files_of_an_editor_of_windows(tmp_path: Path) -> None:
    """Compose's own `config` has the same value."""
    test_files_may_be_those_of_an_editor_of_windows(tmp_path)
    assert config(tmp_path / "c.yaml")["services"]["web"]["environment"] == {"A": "1"}


def test_files_that_compose_would_merge_are_noted(tmp_path: Path) -> None:
    """`docker compose up` reads an override by itself, and those of COMPOSE_FILE."""
    path = compose_file(tmp_path, *NAMED)
    path = path.rename(tmp_path / "compose.yaml")
    (tmp_path / ".env").write_text("COMPOSE_FILE=compose.yaml\n")
    assert not read_project(path, "x").notes
    (tmp_path / "compose.override.yaml").write_text("services: {}\n")
    (tmp_path / ".env").write_text("COMPOSE_FILE=compose.yaml:more.yaml\n")
    assert read_project(path, "x").notes == [
        f"{path}: 'compose.override.yaml' beside it is not read: write its keys into this file",
        f"{tmp_path / '.env'}: COMPOSE_FILE does not count: compose.yaml alone is read",
    ]
    # With -f, Compose looks for no override.
    (tmp_path / ".env").unlink()
    assert not read_project(path.rename(tmp_path / "prod.yaml"), "x").notes

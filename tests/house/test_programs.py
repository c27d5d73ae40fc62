"""Shell and perl programs: their heads, shellcheck, syntax, and no long program in a .py file."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.resources.render import program_text
from tests.house.programs import (
    EXAMPLES,
    ON_HOSTS,
    PERL,
    ROOT,
    SHELL,
    TEMPLATES,
    Program,
    change_scripts,
    check_scripts,
    declared,
    head,
    step_programs,
    templates,
    with_prelude,
)

LONGEST = 12
"""Lines of a program that may be a string in a .py file, next to the parser of its output."""
COMPOSED = {
    2016: "programs of perl and of other shells are quoted arguments",
    2065: "the output of a test is dropped like that of any other command",
    2174: "only the last folder of etcd's data needs its mode: /var/lib/private has it, too",
    2329: "each script brings the function `put`, used or not",
}
"""Findings that do not apply to scripts that Python puts together, and why."""
WITH_HEAD = {
    "guard/guard.sh": "an administrator finds it on a host",
    "host/ovs_uplink.sh": "the text on hosts is compared",
}
"""Programs that hosts get with their head, and why."""


def faults(programs: Iterable[Program], folder: Path, *, excluded: Iterable[int] = ()) -> str:
    """The findings of shellcheck and `sh -n`, a line each."""
    texts = {str(folder / f"{number}.sh"): program for number, program in enumerate(programs)}
    lines = []
    for path, program in texts.items():
        Path(path).write_text(program.text)
        syntax = subprocess.run(["sh", "-n", path], capture_output=True, text=True)
        lines += [f"{program.name}: {syntax.stderr}"] if syntax.returncode else []
    for comment in shellcheck([*texts]):
        program, line, code = texts[comment["file"]], comment["line"], comment["code"]
        if line >= program.first and code not in {*program.excluded, *excluded}:
            source = program.text.split("\n")[line - 1].strip()
            lines.append(f"{program.name}: SC{code} {comment['message']}: {source}")
    return "\n".join(lines)


def shellcheck(files: list[str]) -> list[dict[str, Any]]:
    """The comments of shellcheck on files, as it prints them in JSON."""
    command = Path(sys.executable).with_name("shellcheck")
    assert command.exists(), "shellcheck is missing: .venv/bin/pip install -e '.[dev]'"
    argv = [str(command), "--norc", "--shell=sh", "--format=json1", *files]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    comments: list[dict[str, Any]] = json.loads(done.stdout)["comments"]
    return comments


def test_shell_programs_have_no_faults(tmp_path: Path) -> None:
    """shellcheck and `sh -n` over every file of shell, templates with example values."""
    lines = faults([*map(with_prelude, SHELL), *templates()], tmp_path)
    assert not lines, lines
    shell_templates = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.sh.j2")}
    assert shell_templates <= EXAMPLES.keys()
    assert ON_HOSTS.keys() <= {*SHELL, *EXAMPLES}


def test_whole_scripts_have_no_faults(tmp_path: Path) -> None:
    """The scripts as hosts get them, with every probe, fingerprint and step of the kinds."""
    lines = faults([*check_scripts(), *change_scripts()], tmp_path, excluded=COMPOSED)
    assert not lines, lines


def test_programs_of_steps_have_no_faults(tmp_path: Path) -> None:
    """Every `sh -c` text that a kind uses in a golden case."""
    programs = step_programs()
    assert len(programs) > 30
    lines = faults(programs, tmp_path)
    assert not lines, lines


def test_shellcheck_can_fail(tmp_path: Path) -> None:
    """An unquoted variable and an open quote are found; findings of a prelude are left out."""
    text = "#!/bin/sh\nunused=1\nrm $1\n"
    assert faults([Program("p", text)], tmp_path).count("SC2086") == 1
    assert "SC2034" in faults([Program("p", text)], tmp_path)
    assert "SC2034" not in faults([Program("p", text, first=3)], tmp_path)
    assert "SC2086" not in faults([Program("p", text)], tmp_path, excluded={2086})
    assert faults([Program("p", "#!/bin/sh\necho 'a\n")], tmp_path)


@pytest.mark.parametrize("path", PERL)
def test_perl_compiles_without_warnings(path: str) -> None:
    """`perl -c` with its prelude, strict and with warnings."""
    text = program_text(*declared(path, "Prelude"), path)
    assert "use strict; use warnings;" in text
    done = subprocess.run(["perl", "-c", "-"], input=text, capture_output=True, text=True)
    assert done.stderr == "- syntax OK\n"


@pytest.mark.parametrize("path", [*SHELL, *PERL])
def test_every_program_has_a_head(path: str) -> None:
    """Its head tells readers what the program does, and names what others may use of it."""
    text = (TEMPLATES / path).read_text()
    if path in WITH_HEAD:
        assert text.startswith("#") and program_text(path) == text
        return
    assert head(path), "a program begins with comment lines and an empty line"
    assert program_text(path) == text.removeprefix("\n".join(head(path)) + "\n")
    for name in declared(path, "Defines"):
        assert re.search(rf"(^|[\s;])(sub {name} |{name}\(\)|{name}=)", text, re.M), name
    for prelude in declared(path, "Prelude"):
        assert declared(prelude, "Defines"), prelude


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal that is not a docstring, f-strings included."""
    tree = ast.parse(source)
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    left_out = {id(part) for node in formatted for part in node.values}
    left_out |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in left_out:
            yield node.lineno, str(node.value)


def long_strings(source: str) -> list[str]:
    """Strings of more than LONGEST lines that are not empty: line, number of lines, first line."""
    return [
        f"line {number}: {len(lines)} lines from {lines[0]!r}"
        for number, text in strings(source)
        if len(lines := [line for line in text.split("\n") if line.strip()]) > LONGEST
    ]


def test_no_long_program_is_a_string() -> None:
    """A program of more than LONGEST lines is a file under templates/, which is checked above."""
    breaches = [
        f"{path.relative_to(ROOT)}, {breach}"
        for path in sorted((ROOT / "provision").rglob("*.py"))
        for breach in long_strings(path.read_text())
    ]
    assert not breaches, "move these to templates/: " + "; ".join(breaches)


def test_the_test_for_long_strings_can_fail() -> None:
    """Plain strings and f-strings count; empty lines and docstrings do not."""
    long, short = "echo\n" * (LONGEST + 1), "echo\n" * LONGEST
    assert long_strings(f"X = {long!r}") == [f"line 1: {LONGEST + 1} lines from 'echo'"]
    assert long_strings(f'X = f"""{long}{{Y}}"""')
    assert not long_strings(f"X = {short + chr(10)!r}")
    assert not long_strings(f"def f():\n    {long!r}\n")

"""The names in `provision/` say what they stand for, and its functions are short."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.house import vague_names
from tests.house.test_structure import modules, relative

VAGUE_PERCENT = 0.3
"""The share of vague names that was reached. Lower it with the names; never raise it."""
DOUBLED_CLASSES = {"Options"}
"""Class names that several modules may have: a method names its options in YAML like this."""
MEDIAN_LINES = 6
LONG_LINES = 16
"""Nine of ten functions have at most so many lines."""


def test_few_names_are_vague() -> None:
    """The share of vague names does not grow."""
    names = vague_names.package_names()
    report = "\n".join(vague_names.table(names))
    assert vague_names.share(names) <= VAGUE_PERCENT, report


@pytest.mark.parametrize(
    ("source", "vague"),
    [
        ("def found(): pass", ["found"]),
        ("class Seat: pass", ["Seat"]),
        ("def route(other, *, this): pass", ["other", "this"]),
        ("_was = words = 1", ["_was", "words"]),
        ("for one in routes: print(one)", ["one"]),
        ("[what for what in routes]", ["what"]),
        ("with route as there: there.told = said", ["there"]),
        ("def add_route(routes): foundation = routes", []),
    ],
    ids=["function", "class", "arguments", "assignment", "loop", "comprehension", "with", "none"],
)
def test_each_kind_of_vague_name_is_counted(source: str, vague: list[str], tmp_path: Path) -> None:
    """A name counts where it is bound; a name that only contains a vague word does not."""
    module = tmp_path / "module.py"
    module.write_text(source)
    assert [name.name for name in vague_names.bound_names(module) if name.vague] == vague


def definitions() -> Iterator[tuple[Path, ast.FunctionDef | ast.ClassDef]]:
    """Every function and class of the package, with its module."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield path, node


def test_class_names_are_unique() -> None:
    """A class name means one class in the whole package."""
    places = defaultdict(list)
    for path, node in definitions():
        if isinstance(node, ast.ClassDef) and node.name not in DOUBLED_CLASSES:
            places[node.name].append(f"{relative(path)}:{node.lineno}")
    assert {name: lines for name, lines in places.items() if len(lines) > 1} == {}


def code_lines(function: ast.FunctionDef) -> int:
    """The lines of a function from its `def` on, those of its docstring left out."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        assert docstring.end_lineno is not None
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def test_functions_are_short() -> None:
    """The median function and nine of ten functions keep their limits."""
    lengths = [code_lines(node) for _, node in definitions() if isinstance(node, ast.FunctionDef)]
    assert median(lengths) <= MEDIAN_LINES
    assert quantiles(lengths, n=10)[-1] <= LONG_LINES

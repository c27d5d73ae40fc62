"""Vague names among those that `provision/` binds, counted per folder.

    python -m tests.house.vague_names          # the share of each folder
    python -m tests.house.vague_names --list   # every vague name with its file and line

A name is bound by a function, a class, an argument or an assignment. It is vague if it is one of
`VAGUE`, underscores at its ends and upper case aside: such a name fits any value and tells the
reader nothing about this one.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "provision"
# fmt: off
VAGUE = {
    "one", "found", "said", "words", "word", "place", "own", "was", "way", "seat", "look", "ground",
    "stand", "lane", "told", "seen", "gives", "given", "taken", "here", "there", "some", "other",
    "others", "them", "those", "this", "that", "what", "who", "whose", "thing", "things",
}
# fmt: on


@dataclass(frozen=True)
class BoundName:
    """A name that a module binds, and the line of it."""

    module: Path
    line: int
    name: str

    @property
    def vague(self) -> bool:
        return self.name.strip("_").lower() in VAGUE

    @property
    def folder(self) -> str:
        """The folder of the package that holds the module; "." for the package's own files."""
        return str(self.module.relative_to(PACKAGE).parents[0]).partition("/")[0]


def bound_names(module: Path) -> Iterator[BoundName]:
    """Every name that a module binds."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield BoundName(module, node.lineno, name)
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield BoundName(module, node.lineno, name)
            case ast.Name(id=name, ctx=ast.Store()):
                yield BoundName(module, node.lineno, name)


def package_names() -> list[BoundName]:
    """Every name that the package binds, module by module."""
    modules = sorted(path for path in PACKAGE.rglob("*.py") if "_templates" not in path.parts)
    return [name for module in modules for name in bound_names(module)]


def share(names: Iterable[BoundName]) -> float:
    """The percentage of vague names."""
    counts = Counter(name.vague for name in names)
    return 100 * counts[True] / max(1, counts.total())


def table(names: list[BoundName]) -> Iterator[str]:
    """One line per folder, and one for the whole package."""
    for folder in [*sorted({name.folder for name in names}), "all"]:
        members = [name for name in names if folder in (name.folder, "all")]
        count = sum(name.vague for name in members)
        yield f"{folder:10} {count:5} of {len(members):5} names {share(members):5.1f} %"


def main(*arguments: str) -> None:
    """Print the table; with `--list`, every vague name."""
    names = package_names()
    if "--list" in arguments:
        for name in names:
            if name.vague:
                print(f"{name.module.relative_to(PACKAGE.parent)}:{name.line}: {name.name}")
    else:
        print(*table(names), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

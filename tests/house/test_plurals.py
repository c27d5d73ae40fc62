"""Messages count things by `model.text.count`, so that none says "1 networks"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from provision.model.text import count
from tests.house.test_structure import ROOT

NOUNS = (
    "addresses|bridges|bytes|changes|checks|commands|containers|executions|files|groups|hosts|keys|"
    "lines|measurements|members|methods|networks|pairs|peers|ports|problems|resources|rounds|"
    "routes|rules|subnets|tunnels|values"
)
PLURAL = re.compile(rf" ({NOUNS})\b")
ALLOWED = {"MAX_HOSTS", "MAX_NODES", "_MAX_MEMBERS", "SIZE_LIMIT", "OUTPUT_LIMIT"}
"""Limits, which are always more than one."""


def counted(source: str) -> Iterator[str]:
    """Yield each f-string's `{number} nouns` that is one noun for the number 1, too."""
    for joined in ast.walk(ast.parse(source)):
        values = joined.values if isinstance(joined, ast.JoinedStr) else []
        for value, text in pairwise(values):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            name = ast.unparse(value.value)
            noun = PLURAL.match(str(text.value))
            if noun and name not in ALLOWED and _is_number(value.value):
                yield f"{{{name}}} {noun[1]}"


def _is_number(value: ast.expr) -> bool:
    """True for a length, and for names that are not those of texts."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id in ("len", "sum")
    return isinstance(value, ast.Name | ast.Attribute)


def test_messages_count_by_the_one_helper() -> None:
    """A number before a plural noun is right for 1, too."""
    breaches = {
        f"{path.relative_to(ROOT)}: {text}"
        for path in sorted((ROOT / "provision").rglob("*.py"))
        for text in counted(path.read_text())
    }
    assert breaches == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f'{len(hosts)} hosts'", ["{len(hosts)} hosts"]),
        ("f'{passed} checks passed'", ["{passed} checks"]),
        ("f'{count(passed, \"check\")} passed'", []),
        ("f'at most {MAX_HOSTS} hosts'", []),
        ("f'{name} is one of the hosts'", []),
    ],
)
def test_a_plural_is_seen(source: str, expected: list[str]) -> None:
    """In f-strings, directly after the number."""
    assert list(counted(source)) == expected


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(0, "host", "0 hosts"), (1, "network", "1 network"), (2, "address", "2 addresses"),
     (6132, "check", "6,132 checks")],
)  # fmt: skip
def test_count(number: int, noun: str, text: str) -> None:
    """The singular for one; `es` after an s."""
    assert count(number, noun) == text

"""The strict YAML reader: values, positions, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.inventory.yaml_errors import MAX_DEPTH, explain
from provision.inventory.yaml_reader import MAX_NODES, YamlDocument, read
from provision.model.findings import KEY

PATH = Path("demo.yml")


def plain(text: str) -> object:
    """The values of a valid document."""
    document = read(PATH, text)
    assert document.root is not None, document.findings
    return document.root.plain()


def only_finding(document: YamlDocument) -> str:
    """The only finding of a document, as `line:column: message`."""
    (finding,) = document.findings
    assert finding.position.path == PATH
    return f"{finding.position.line}:{finding.position.column}: {finding.message}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("010", "010"),
        ("+1", "+1"),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("1.10", "1.10"),
        ("22:22", "22:22"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("2026-11-24", "2026-11-24"),
        ("'22'", "22"),
        ('"true"', "true"),
        ("9" * 19, "9" * 19),
        ("|-\n  7", "7"),
    ],
)
def test_a_scalar_has_its_strict_type(text: str, value: object) -> None:
    """Only true, false, null and decimal numbers are not text."""
    assert plain(f"key: {text}\n") == {"key": value}


@pytest.mark.parametrize("key", ["on", "1", "true", "~", "1.10", "010"])
def test_a_key_is_always_text(key: str) -> None:
    """Whatever YAML would read it as."""
    assert plain(f"{key}: x\n") == {key: "x"}


def test_each_key_and_value_has_its_position() -> None:
    """Line and column; a missing key has the position of its mapping."""
    root = read(PATH, "a: 1\nb:\n  - x\n  - {c: y}\nd:\n").root
    assert root is not None
    assert root.locate(("a",)) == (1, 4)
    assert root.locate(("a", KEY)) == (1, 1)
    assert root.locate(("b", 1, "c")) == (4, 9)
    assert root.locate(("b", 1, "c", KEY)) == (4, 6)
    assert root.locate(("d",)) == (5, 1)
    assert root.locate(("b", 1, "missing")) == (4, 5)
    assert root.locate(()) == (1, 1)


def test_deep_nesting_is_refused() -> None:
    """40 levels are allowed, and thousands do not overflow the stack."""
    assert plain("[" * (MAX_DEPTH - 1) + "x" + "]" * (MAX_DEPTH - 1))
    for text in ("[" * 3000, "{a: " * 3000, "- " * 3000, "? " * 3000):
        assert "nested deeper than 40" in only_finding(read(PATH, text))


@pytest.mark.parametrize("text", ["{a: " * 5000, "{a: " * 5000 + "1" + "}" * 5000, "- " * 5000])
def test_the_hint_on_deep_nesting_is_right_also_where_each_bracket_is_closed(text: str) -> None:
    """And where there is none: it does not ask for a bracket that is not closed."""
    (finding,) = read(PATH, text).findings
    assert finding.hint == "no key needs more than 8 levels: remove brackets, or indentation"


def test_a_document_with_too_many_values_is_refused() -> None:
    """The finding has the position of the first value too many."""
    assert len(plain("[" + "h," * (MAX_NODES - 1) + "]")) == MAX_NODES - 1  # type: ignore[arg-type]
    assert only_finding(read(PATH, "[" + "h," * MAX_NODES + "]")) == f"1:{2 * MAX_NODES}: " + (
        "the file has more than 200,000 values"
    )


def test_a_duplicate_key_is_a_finding() -> None:
    """The first value counts for further findings."""
    document = read(PATH, "a: 1\na: 2\n")
    assert document.root is not None
    assert document.root.plain() == {"a": 1}
    assert only_finding(document) == "2:1: duplicate key 'a' (first at 1:1)"


def test_keys_with_the_same_text_are_duplicates() -> None:
    """Even if only one of them is quoted."""
    assert only_finding(read(PATH, "1: a\n'1': b\n")).startswith("2:1: duplicate key")


class _Mark:
    line, column = 0, 3


class _Error:
    problem, context = "something libyaml may say one day", None
    problem_mark, context_mark = _Mark(), None


def test_an_unknown_syntax_error_has_the_text_of_the_parser() -> None:
    """A later version of libyaml may have new messages."""
    assert explain(_Error(), ["a: b"])[:3] == (
        1,
        4,
        "invalid YAML: something libyaml may say one day",
    )

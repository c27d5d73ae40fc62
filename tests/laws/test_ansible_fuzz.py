"""Law: any text as an Ansible inventory gives hosts, or one error with a line."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.inventory.ansible.read import read
from provision.model.findings import FindingError

FOLDER = Path(__file__).parents[1] / "unit/ansible"
SEEDS = [path.read_text() for path in sorted(FOLDER.rglob("*")) if path.is_file()]
PIECES = ("[", "]", ":", "=", "\n", " ", "'", '"', "#", "{", "}", "!", "&a", "*a", "<<: *a", "\t")
PIECES += ("[1:3]", "[a:c]", "[01:99:7]", "[web:children]", "[all:vars]", "hosts:", "- ", "{{ x }}")
PIECES += ("²", "9" * 5000, "x" * 300, "[1:²]", f"[1:{'9' * 5000}]", " ansible_port=²")


def mutated(text: str, seed: int) -> str:
    """The text with up to six pieces inserted or removed."""
    generator = random.Random(seed)
    for _ in range(generator.randint(1, 6)):
        at = generator.randint(0, len(text))
        cut = generator.choice((0, 0, 1, 5, 40))
        text = text[:at] + generator.choice(PIECES) + text[at + cut :]
    return text


def assert_read_or_refused(text: str, suffix: str) -> None:
    """The reader returns consistent hosts and groups, or raises a finding in this file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"hosts{suffix}")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            inventory = read(path)
        except FindingError as error:
            assert error.finding.message and error.finding.position.path == path
            assert 0 <= error.finding.position.line <= len(text.splitlines()) + 1
            return
        assert set(inventory.hosts) == set(inventory.positions)
        for members in inventory.groups.values():
            assert set(members) <= set(inventory.hosts)


@settings(max_examples=400, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SEEDS), st.integers(0, 2**32), st.sampled_from((".ini", ".yml", "", ".json"))
)
def test_a_mutated_inventory_is_read_or_refused(text: str, seed: int, suffix: str) -> None:
    """Mutations are like typing errors in real files."""
    assert_read_or_refused(mutated(text, seed), suffix)


@settings(max_examples=200, deadline=5000)
@given(st.text(max_size=300), st.sampled_from((".ini", ".yml")))
def test_any_text_is_read_or_refused(text: str, suffix: str) -> None:
    """Even text that nobody would write."""
    assert_read_or_refused(text, suffix)


@pytest.mark.parametrize(
    "line",
    [
        *("w[1:²]", "w[²:3]", "w[1:3:²]", f"w[1:{'9' * 5000}]", "w ansible_port=²", "w" * 300),
        *(f"w ansible_port={'9' * 5000}", f"[{'g' * 300}]\nw ansible_host=192.0.2.1"),
    ],
)
def test_what_looks_like_a_number_or_a_name_is_read_or_refused(line: str) -> None:
    """Python calls ² a digit, reads no number of 5,000 digits, and the system no name of 300."""
    assert_read_or_refused(line + "\n", ".ini")


def test_a_merge_key_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    """PyYAML raises its own error for it only when the mapping is read."""
    path = tmp_path / "hosts.yml"
    path.write_text("all:\n  hosts:\n    <<: [a:c]\n")
    with pytest.raises(FindingError, match="does not name a mapping"):
        read(path)

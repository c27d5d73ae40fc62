"""Any text as an Ansible inventory: hosts, or one error with a line; never a traceback."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provision.inventory.ansible.read import read
from provision.model.findings import FindingError

FOLDER = Path(__file__).parents[1] / "unit/ansible"
SEEDS = [path.read_text() for path in sorted(FOLDER.rglob("*")) if path.is_file()]
PIECES = ("[", "]", ":", "=", "\n", " ", "'", '"', "#", "{", "}", "!", "&a", "*a", "<<: *a", "\t")
PIECES += ("[1:3]", "[a:c]", "[01:99:7]", "[web:children]", "[all:vars]", "hosts:", "- ", "{{ x }}")


def mutated(text: str, seed: int) -> str:
    """The text with a few pieces put in, taken out or moved."""
    chosen = random.Random(seed)
    for _ in range(chosen.randint(1, 6)):
        at = chosen.randint(0, len(text))
        cut = chosen.choice((0, 0, 1, 5, 40))
        text = text[:at] + chosen.choice(PIECES) + text[at + cut :]
    return text


def check(text: str, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"hosts{suffix}")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            found = read(path)
        except FindingError as error:
            assert error.finding.message and error.finding.position.path == path
            assert 0 <= error.finding.position.line <= len(text.splitlines()) + 1
            return
        assert set(found.hosts) == set(found.positions)
        for members in found.groups.values():
            assert set(members) <= set(found.hosts)


@settings(max_examples=400, deadline=5000, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(SEEDS), st.integers(0, 2**32), st.sampled_from((".ini", ".yml", "", ".json"))
)
def test_a_mutated_inventory(text: str, seed: int, suffix: str) -> None:
    """Slips of the finger in real files."""
    check(mutated(text, seed), suffix)


@settings(max_examples=200, deadline=5000)
@given(st.text(max_size=300), st.sampled_from((".ini", ".yml")))
def test_any_text(text: str, suffix: str) -> None:
    """Also what nobody would write."""
    check(text, suffix)

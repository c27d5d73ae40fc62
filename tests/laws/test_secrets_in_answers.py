"""Law: no message about an odd answer of a host has a part of a secret that the answer holds."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provision.facts import gather
from provision.model.errors import FactsError
from provision.model.reading import reading, require_types
from provision.resources.base import secret_fields
from provision.resources.kinds.container import DockerContainer
from provision.resources.kinds.secret_file import SecretFile
from provision.resources.on_hosts import Mark
from tests.laws.test_parsers import FOLDER, STEMS, answer, captured, host_of, mutated
from tests.probes.test_captured import INVENTORIES, PROBES

CANARY = "hunter2canary"
ENCODED = b64encode(CANARY.encode()).decode()
SECRET = [
    path
    for path in sorted(FOLDER.glob("*/*.txt"))
    if path.stem in STEMS and re.search(r'"Env"|^@secret .+', path.read_text(), re.M)
]


def with_canary(text: str) -> str:
    """A capture in which every container has a password, and every file with secrets is one."""
    variable = f'"DB_PASSWORD={CANARY}"'
    text = re.sub(r'"Env": ?(null|\[\])', f'"Env": [{variable}]', text)
    text = re.sub(r'"Env": ?\["', f'"Env": [{variable},"', text)
    return re.sub(r"^(@secret \S+ \S+) \S+", rf"\1 {ENCODED}", text, flags=re.M)


def test_captures_have_secrets() -> None:
    """Otherwise the law below would hold for nothing."""
    texts = [with_canary(path.read_text()) for path in SECRET]
    assert sum(CANARY in text for text in texts) > 5
    assert sum(ENCODED in text for text in texts) > 1


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SECRET), st.integers(0, 2**32))
@example(FOLDER / "image_archive" / "docker0-sid.txt", 3189087)  # the head of the line is lost
def test_no_message_about_an_answer_has_a_secret(path: object, seed: int) -> None:
    """Wherever a line is cut or a word is changed."""
    stem, section = path.stem, path.parent.name  # type: ignore[attr-defined]
    text = mutated(with_canary(path.read_text()), seed)  # type: ignore[attr-defined]
    output = answer(captured(stem) | {section: text})
    name = INVENTORIES[stem.split("-")[0]]
    try:
        gather.parse(host_of(stem), name, output, nonce="n0", probes=PROBES.values())
    except FactsError as error:
        assert not any(part in error.message for part in (CANARY[4:], ENCODED[4:14]))


def test_the_head_of_a_line_may_be_lost() -> None:
    """What marked it as one with a secret is gone with it."""
    stem = "password-bookworm"
    output = answer(captured(stem) | {"secret_file": f"@x root 600 {ENCODED}"})
    with pytest.raises(FactsError, match="its secret_file state cannot be read") as caught:
        gather.parse("host", "mesh", output, nonce="n0", probes=PROBES.values())
    assert ENCODED not in caught.value.message


def test_a_value_of_another_type_is_not_quoted() -> None:
    """A test of types names the field; of a field with secrets, it would quote all of them."""
    env = (("A", CANARY), ("B", None))
    odd = DockerContainer(
        "h1", "db", "x", (), "none", None, "no", Mark("demo", ""), env=env,  # type: ignore[arg-type]
    )  # fmt: skip
    with (
        pytest.raises(FactsError) as caught,
        reading("h1", "container state", "", is_secret=True),
    ):
        require_types(odd)
    assert CANARY not in caught.value.message and "TypeError" in caught.value.message
    assert secret_fields(DockerContainer) and secret_fields(SecretFile)

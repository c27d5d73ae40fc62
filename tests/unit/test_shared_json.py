"""Tables in JSON whose entries the hosts of a fleet share."""

from __future__ import annotations

import json

import pytest

from provision.resources.lib.shared_json import decode, made

PLAIN = [{"dst": "10.0.0.0/24", "flags": []}, {"dst": "default"}]
TEXTS = {
    "a table": PLAIN,
    "objects in objects": [{"dst": "default", "nexthops": [{"dev": "a"}, {"dev": "b"}]}, {"n": 1}],
    "braces in texts": [{"dst": "a},{b"}, {"comment": "}]"}],
    "one object": [{"a": {"b": 1}}],
    "nothing": [],
    "no table": {"a": [1]},
}


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_value_is_that_of_json(case: str, separators: tuple[str, str]) -> None:
    """Also where an object has objects, or a text has braces."""
    text = json.dumps(TEXTS[case], separators=separators)
    assert decode(text) == TEXTS[case]


@pytest.mark.parametrize(
    "text", ["", "[{]", '[{"dst":1},{"b":]', '[{"dst":1},{"b":2}', '[{"dst":1}]x']
)
def test_what_is_no_json_is_an_error(text: str) -> None:
    """As for `json.loads`, whatever hosts print."""
    with pytest.raises(ValueError):
        decode(text)


def test_what_is_made_of_an_entry_is_made_once_for_all_hosts() -> None:
    """Two texts that have the same entry, of two hosts."""
    texts = (json.dumps([{"dst": "7"}, {"of": host}], separators=(",", ":")) for host in "ab")
    first, second = (decode(text)[0] for text in texts)
    calls: list[object] = []
    results = [made(entry, calls.append) for entry in (first, second, {"dst": "7"})]
    assert first is second and results == [None] * 3
    assert len(calls) == 2, "an entry, and a mapping that is none"

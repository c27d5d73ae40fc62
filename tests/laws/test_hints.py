"""A hint that says what to write is right: written, it is accepted.

Hints of a form that a program can follow are followed, in every example of bad input and in drawn
networks: `did you mean X?`, `write X`, `write it like X`, `write KEY: X`.
"""

from __future__ import annotations

import copy
import json
import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.inventory.load import load
from provision.inventory.yaml_reader import read
from provision.model.errors import InventoryError
from provision.model.findings import KEY, Finding, Loc
from tests.house.test_structure import ROOT

BAD = ROOT / "tests/cases/bad-input"
FORMS = (
    re.compile(r"did you mean '?(?P<value>[^'? ]+)'?\?$"),
    re.compile(r"write (?P<key>[a-z_0-9]+): (?P<value>'[^']+'|[^ ,…']+)(?:,| or |$)"),
    re.compile(
        r"write (?:it like |a private network, like |one like )?'?(?P<value>[^' ]*[\d/.:][^' ]*)'?$"
    ),
)  # fmt: skip
SCALARS = (str, int, bool, type(None))


def written(data: Any, finding: Finding) -> Any:
    """The inventory after its author did what a hint says; None if no program can tell what."""
    matches = [match for form in FORMS if (match := form.match(finding.hint))]
    if not matches or not finding.loc:
        return None
    fields = matches[0].groupdict()
    text = str(fields["value"])
    value = yaml.safe_load(text)
    changed = copy.deepcopy(data)
    loc: Loc = finding.loc
    if finding.message.startswith("unknown key"):
        return renamed(changed, loc, text)
    if key := fields.get("key"):
        # A finding at the key of an entry is about what is missing in it.
        loc = (*loc[:-1], key)
    parent: Any = changed
    for step in loc[:-1]:
        if step != KEY:
            parent = parent[step]
    if not isinstance(parent, list if isinstance(loc[-1], int) else dict) or loc[-1] == KEY:
        return None
    if key and key != finding.loc[-1] and parent.get(finding.loc[-1]) == value:
        # The value is right under another key (`gateway` in place of `gateway6`).
        del parent[finding.loc[-1]]
    old = parent.get(loc[-1]) if isinstance(parent, dict) else parent[loc[-1]]
    if not isinstance(old, SCALARS):
        return None
    wrong = re.search(r"unknown \w+ '([^']+)'", finding.message)
    part = wrong is not None and isinstance(old, str) and old.endswith(f":{wrong[1]}")
    parent[loc[-1]] = old.replace(wrong[1], text) if part and wrong else value
    return changed


def renamed(data: Any, loc: Loc, name: str) -> Any:
    """The inventory with another name for a key; None if it has that one, too."""
    *path, old = (step for step in loc if step != KEY)
    parent = data
    for step in path:
        parent = parent[step]
    if old not in parent or name in parent:
        return None
    parent[name] = parent.pop(old)
    return data


def parsed(case: Path) -> tuple[str, Any]:
    """The text and the values of a file; None for one whose syntax is the mistake."""
    try:
        text = case.read_text()
        root = read(case, text).root
    except (UnicodeDecodeError, yaml.YAMLError):
        return "", None
    return text, root.plain() if root else None


def findings(folder: Path, text: str) -> tuple[Finding, ...]:
    """The findings of an inventory."""
    path = folder / "inventory.yml"
    path.write_text(text)
    try:
        load(path)
    except InventoryError as error:
        return error.findings
    return ()


@pytest.mark.parametrize("case", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_what_a_hint_says_is_accepted(case: Path, tmp_path: Path) -> None:
    """The value that was refused is not refused for the same or another reason."""
    text, data = parsed(case)
    if data is None:
        return
    for finding in findings(tmp_path, text):
        changed = written(data, finding)
        if changed is None:
            continue
        after = findings(tmp_path, json.dumps(changed, ensure_ascii=False))
        left = [other for other in after if refuses(other, finding)]
        assert not left, f"{finding}\n  written: {left[0]}"


def refuses(other: Finding, finding: Finding) -> bool:
    """True if a finding is still there, or refuses the value that its hint offered.

    A clash with another network is of both: the value itself is accepted.
    """
    if other.loc != finding.loc or other.message.startswith("networks "):
        return False
    match = next(match for form in FORMS if (match := form.match(finding.hint)))
    return other.message == finding.message or match["value"] in other.message


FOLLOWED = 60
"""At least so many hints of the bad inputs can be followed: the forms fit what the hints say."""


def test_many_hints_can_be_followed(tmp_path: Path) -> None:
    """Otherwise the law above would hold for nothing."""
    followed = 0
    for case in BAD.glob("*.yml"):
        text, data = parsed(case)
        if data is not None:
            reported = findings(tmp_path, text)
            followed += sum(written(data, finding) is not None for finding in reported)
    assert followed >= FOLLOWED, followed


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """A network whose range may be too narrow for its hosts, with a lowest subnet or without."""
    prefix, size = draw(st.integers(0, 32)), draw(st.integers(8, 29))
    base = draw(st.sampled_from(["172.16.0.0", "10.96.0.0", "172.16.5.7", "192.168.255.0"]))
    cidr = IPv4Network(f"{base}/{prefix}", strict=draw(st.just(False)))
    text = draw(st.sampled_from([str(cidr), f"{base}/{prefix}"]))
    method = draw(st.sampled_from(["routes", "flannel"]))
    network: dict[str, Any] = {"method": method, "cidr": text, "subnet_size": size}
    if method == "flannel" and draw(st.booleans()):
        blocks = max(1, 1 << max(0, size - cidr.prefixlen))
        number = draw(st.integers(0, min(blocks - 1, 300)) | st.just(blocks - 1))
        first = int(cidr.network_address) + number * (1 << (32 - size))
        network["subnet_min"] = str(IPv4Address(min(first, 2**32 - 1)))
    return network


@settings(max_examples=150)
@given(network=networks(), hosts=st.integers(2, 9))
def test_hints_about_ranges_lead_to_a_valid_inventory(
    tmp_path_factory: pytest.TempPathFactory, network: dict[str, Any], hosts: int
) -> None:
    """Followed one by one, they end within a few steps, or where only a person can go on."""
    folder = tmp_path_factory.getbasetemp()
    data: Any = {
        "name": "z",
        "hosts": {f"h{k}": {"address": f"192.0.2.{k}"} for k in range(1, hosts + 1)},
        "networks": {"blue": network},
    }
    for _ in range(4):
        left = findings(folder, json.dumps(data))
        steps = [changed for finding in left if (changed := written(data, finding)) is not None]
        if not steps:
            return
        assert steps[0] != data, f"{left[0]}: it is what the file says"
        data = steps[0]
    raise AssertionError((data, [str(finding) for finding in findings(folder, json.dumps(data))]))

"""Ports of Linux bridges that somebody has told to stop frames, in captures of booted hosts.

tests/netns/test_mute_ports.py has the kinds that a kernel without Docker and Open vSwitch can hold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.resources.base import Origin, Resource
from provision.resources.kinds.attachment import Attachment
from provision.resources.kinds.ovs_veth import OvsVeth
from provision.resources.steps import Run
from tests.probes.test_captured import FOLDER, INVENTORIES

FLOOD = '"flood":true'
CAPTURES = {
    kind: sorted(FOLDER.glob(f"{kind.kind}/{name}-*.txt"))
    for kind, name in ((Attachment, "pipework"), (OvsVeth, "ovs"))
}


def found(kind: type[Resource], path: Path, text: str) -> list[Resource]:
    """The resources of the inventory."""
    origin = Origin("host", INVENTORIES[path.stem.split("-")[0]])
    return [entry.resource for entry in kind.parse(text, origin) if entry.ours]


@pytest.mark.parametrize("path", CAPTURES[OvsVeth], ids=lambda path: path.stem)
def test_a_pair_whose_inner_end_is_mute_is_healed(path: Path) -> None:
    """In place; a rollback makes it mute again."""
    text = path.read_text()
    for wanted, damaged in zip(
        found(OvsVeth, path, text),
        found(OvsVeth, path, text.replace(FLOOD, '"flood":false')),
        strict=True,
    ):
        assert isinstance(wanted, OvsVeth) and damaged == replace(wanted, mute="flood off")
        for steps, value in (
            (wanted.update(damaged), "on"),
            (wanted.undo(damaged, ours=True), "off"),
        ):
            assert steps and steps[-1] == Run(
                ("bridge", "link", "set", "dev", wanted.inner, "flood", value)
            )


@pytest.mark.parametrize("path", CAPTURES[Attachment], ids=lambda path: path.stem)
def test_an_interface_whose_port_is_mute_is_made_again(path: Path) -> None:
    """Like one whose port has lost its VLAN."""
    text = path.read_text()
    whole = {each.name: each for each in found(Attachment, path, text)}
    mute = found(Attachment, path, text.replace(FLOOD, '"flood":false'))
    for damaged in mute:
        wanted = whole[damaged.name]
        assert isinstance(wanted, Attachment) and isinstance(damaged, Attachment)
        is_port = wanted.link_type == "bridge" and bool(wanted.parent)
        assert damaged == (replace(wanted, parent="") if is_port else wanted)
    assert any(each not in whole.values() for each in mute)


@pytest.mark.parametrize("path", CAPTURES[OvsVeth], ids=lambda path: path.stem)
def test_a_pair_whose_bridge_is_down_is_not_mute(path: Path) -> None:
    """The bridge has disabled the port, which carries frames again as soon as it is up."""
    text = path.read_text().replace('"state":"forwarding"', '"state":"disabled"')
    pairs = [each for each in found(OvsVeth, path, text) if isinstance(each, OvsVeth)]
    assert pairs and all(each.mute == "state 0" for each in pairs)
    idle = "".join(f"idle {each.inner}\n" for each in pairs)
    assert found(OvsVeth, path, text + idle) == [replace(each, mute="") for each in pairs]


@pytest.mark.parametrize("path", CAPTURES[Attachment], ids=lambda path: path.stem)
def test_an_interface_whose_bridge_is_down_is_not_made_again(path: Path) -> None:
    """The bridge alone has to be set up."""
    text = path.read_text()
    disabled = text.replace('"state":"forwarding"', '"state":"disabled"')
    up = '"ifname":"bri0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"]'
    assert up in text and found(Attachment, path, disabled) != found(Attachment, path, text)
    down = disabled.replace(up, up.replace(',"UP","LOWER_UP"', ""))
    assert found(Attachment, path, down) == found(Attachment, path, text)

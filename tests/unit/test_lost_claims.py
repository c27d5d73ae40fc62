"""What has lost its claim on a host is still ours: by captures of hosts, without their claims.

`lab/test_damage.py` deletes the claims of booted hosts.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provision.resources import script
from provision.resources.base import Origin
from provision.resources.kinds.attachment import Attachment
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.service import Service
from provision.resources.steps import Put
from tests.probes.test_captured import FOLDER, INVENTORIES

ATTACHMENTS = sorted((FOLDER / "attachment").glob("*.txt"))
FLANNELS = sorted((FOLDER / "flannel").glob("*.txt"))


def both(path: Path) -> tuple[str, str, Origin]:
    """A capture with and without its claims, and its origin."""
    text = path.read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("claim ")]
    assert "".join(lines) != text
    return text, "".join(lines), Origin("host", INVENTORIES[path.stem.split("-")[0]])


@pytest.mark.parametrize("path", ATTACHMENTS, ids=lambda path: path.stem)
def test_an_interface_without_its_claim_is_known_by_its_alias(path: Path) -> None:
    """All fields are as with the claim; the claim is written, and nothing else is done."""
    text, without, origin = both(path)
    expected = {e.resource.ref: e.resource for e in Attachment.parse(text, origin)}
    entries = list(Attachment.parse(without, origin))
    assert {entry.resource.ref for entry in entries} == expected.keys() and expected
    for entry in entries:
        before, whole = entry.resource, expected[entry.resource.ref]
        assert isinstance(before, Attachment) and isinstance(whole, Attachment) and entry.ours
        assert before.lacks == "claim" and replace(before, lacks="") == whole
        assert before.claim == whole.claim
        assert whole.update(before) == whole.create()
        undo = script.commands(whole.undo(before, ours=True))
        assert "/attachments/" in undo and "nsenter" not in undo
        reason = whole.disruption(before, recreated=False)
        assert reason and "is ours, damaged: its claim" in reason


@pytest.mark.parametrize("path", ATTACHMENTS, ids=lambda path: path.stem)
def test_an_interface_of_another_inventory_is_not_ours(path: Path) -> None:
    """Its alias names the inventory."""
    _, without, origin = both(path)
    assert not list(Attachment.parse(without, replace(origin, inventory="other")))


@pytest.mark.parametrize("path", FLANNELS, ids=lambda path: path.stem)
def test_what_flanneld_made_is_known_by_its_settings(path: Path) -> None:
    """The device is the one with an address of the range."""
    text, without, origin = both(path)
    (whole,) = (e.resource for e in Flannel.parse(text, origin) if e.ours)
    (before,) = (e.resource for e in Flannel.parse(without, origin) if e.ours)
    assert isinstance(before, Flannel) and isinstance(whole, Flannel)
    assert replace(before, lacks="") == replace(whole, lacks="") and before.lacks == "claim"
    assert whole.update(before) == whole.create()
    reason = whole.disruption(before, recreated=False)
    assert reason and "is ours, damaged: its claim" in reason
    # With a claim, the settings change nothing; without any of both, the device is of others.
    assert list(Flannel.parse(_unset(text), origin)) == list(Flannel.parse(text, origin))
    assert not [entry for entry in Flannel.parse(_unset(without), origin) if entry.ours]


def _unset(text: str) -> str:
    """A capture without the settings that flanneld has written."""
    lines = text.splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith("settings "))
    assert kept != text
    return kept


SERVICES = sorted((FOLDER / "service").glob("*.txt"))


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_an_empty_unit_file_is_known_by_its_name(path: Path) -> None:
    """As that of a follower: it has lost the mark in its first line, and nobody else's has one."""
    text, network = path.read_text(), ("over", IPv4Network("172.22.0.0/16"))
    origin = Origin("host", INVENTORIES[path.stem.split("-")[0]], (network,))
    empty = re.sub(r"^(\d+) \S+ (/etc/systemd/system/)", r"\1  \2", text, flags=re.M)
    whole = {e.resource.name: e.resource for e in Service.parse(text, origin) if e.ours}
    found = {e.resource.name: e.resource for e in Service.parse(empty, origin) if e.ours}
    assert found.keys() == whole.keys() and found
    for name, lost in found.items():
        wanted = whole[name]
        assert isinstance(lost, Service) and isinstance(wanted, Service)
        assert (lost.mark, lost.text) == (wanted.mark, "")
        assert wanted.update(lost) == wanted.create()
        reason = wanted.disruption(lost, recreated=False)
        assert reason == f"service {name} is ours, damaged: its unit file is empty"
        undo = wanted.undo(lost, ours=True)
        assert Put(f"/etc/systemd/system/{name}", "") in undo and "restart" not in str(undo)
    # Without the network in the file, or as another inventory's, nothing tells whose it is.
    for other in (replace(origin, networks=()), replace(origin, inventory="other")):
        assert not [entry for entry in Service.parse(empty, other) if entry.ours]


EMPTY = "644  /etc/systemd/system/provision-shop-web-api-dns.service\n"


@pytest.mark.parametrize(
    ("followers", "inventory", "network", "ours"),
    [
        ("shop", "shop", "web-api", True),
        ("shop other shop-web-api shop-w", "shop", "web-api", True),
        ("shop shop-web", "shop", "web-api", False),
        ("shop shop-web", "shop-web", "api", False),
        ("shop-web", "shop-web", "api", True),
    ],
)
def test_an_empty_unit_file_of_two_inventories_is_of_none(
    followers: str, inventory: str, network: str, ours: bool
) -> None:
    """Its name may be that of network web-api of shop, and of network api of shop-web."""
    there = "".join(f"follower provision-{name}-follow.service\n" for name in followers.split())
    origin = Origin("host", inventory, ((network, IPv4Network("172.22.0.0/16")),))
    (entry,) = Service.parse(EMPTY + there, origin)
    assert entry.ours is ours

"""What real hosts printed, per suite and kind, and what it is read as.

`<kind>/<inventory>-<suite>.txt` was captured on booted hosts; `.expected` beside it holds the
resources that carry the inventory's mark. `--update-goldens` writes the latter anew: read them.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from provision.facts import host_probe
from provision.methods._shared import lan
from provision.methods.flannel import facts as flannel_facts
from provision.resources import kinds
from provision.resources.base import Origin

FOLDER = Path(__file__).parent
INVENTORIES = {
    "routes": "demo",
    "docker0": "classic",
    "pipework": "lan",
    "ovslan": "ovslan",
    "vlans": "vlans",
    "veth": "lan",
    "modes": "modes",
    "shared": "shared",
    "flannel": "overlay",
    "vxlan": "wide",
    "routed": "routed",
    "ovs": "tunnel",
}
# What etcd holds says whose it is by the inventory's names of hosts.
HOSTS = {"trixie": "h1", "bookworm": "h2", "sid": "h3"}
CAPTURES = sorted(FOLDER.glob("*/*.txt"))
PROBES = {probe.section: probe for probe in (flannel_facts.probe(), lan.probe({}))}
"""Probes of methods, by the folder of their captures."""
KINDS = {kind.kind: kind for kind in kinds.all_kinds()}


def read(path: Path) -> str:
    """The resources of ours in one capture, a line each."""
    kind, text = path.parent.name, path.read_text().strip()
    if kind == "host":
        facts = host_probe.parse("host", text)
        words = {field.name: getattr(facts, field.name) for field in fields(facts)}
        words["tools"] = sorted(facts.tools)  # a set prints in another order each time
        return "".join(f"{key}: {value!r}\n" for key, value in words.items())
    if kind in PROBES:
        own = PROBES[kind].parse(text)
        return "".join(f"{field.name}: {getattr(own, field.name)!r}\n" for field in fields(own))
    inventory, suite = path.stem.split("-")
    host = HOSTS[suite] if inventory == "flannel" else "host"
    scope = Origin(host, INVENTORIES[inventory])
    seen = KINDS[kind].parse(text, scope)
    return "".join(f"{one.resource!r}\n" for one in seen if one.ours)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_captured_answer_is_read_as_expected(path: Path, request: pytest.FixtureRequest) -> None:
    """The same words of iproute2, iptables and Docker mean the same resources."""
    expected = path.with_suffix(".expected")
    if request.config.getoption("update_goldens"):
        expected.write_text(read(path))
    assert read(path) == expected.read_text()


def test_every_kind_has_captures_of_three_suites() -> None:
    """A kind without a real capture is read by guesswork."""
    for kind in KINDS:
        suites = {path.stem.split("-")[1] for path in (FOLDER / kind).glob("*.txt")}
        assert suites == {"bookworm", "sid", "trixie"}, kind


def test_what_is_ours_was_seen() -> None:
    """The captures are of hosts with something of ours: every kind but the archive shows it."""
    shown = {path.parent.name for path in CAPTURES if read(path)}
    # Docker had turned forwarding on itself; image and commands were there before us.
    assert {*KINDS, *PROBES, "host"} - shown == {"image", "image_archive", "package", "sysctl"}

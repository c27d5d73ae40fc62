"""Captured output of probes is parsed into the expected resources.

`<kind>/<inventory>-<suite>.txt` was captured on booted hosts. `.expected` beside it has the
resources with the inventory's mark; `--update-goldens` writes these files, for review.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from provision.facts import host_probe
from provision.methods._names import facts as name_facts
from provision.methods._shared import frr_facts, lan_facts
from provision.methods.flannel import facts as flannel_facts
from provision.methods.vxlan import evpn_facts
from provision.methods.wireguard import facts as wireguard_facts
from provision.resources import kinds
from provision.resources.base import SECRET_PAIRS, Origin, Resource

FOLDER = Path(__file__).parent
# old…: applied by version 0.1.0
INVENTORIES = {
    "routes": "demo",
    "oldroutes": "demo",
    "olddocker0": "classic",
    "oldrouted": "routed",
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
    "wireguard": "safe",
    "psk": "safe",
    "walled": "two",
    "guests": "hosting",
    "several": "several",
    "names": "demo",
    "password": "mesh",
}
# The keys in etcd contain the names of hosts, so captures of flannel need the real ones.
HOSTS = {"trixie": "h1", "bookworm": "h2", "sid": "h3"}
CAPTURES = sorted(FOLDER.glob("*/*.txt"))
PROBES = {
    probe.section: probe
    for probe in (
        flannel_facts.probe(),
        lan_facts.probe({}),
        wireguard_facts.probe(),
        name_facts.probe(),
        frr_facts.probe(),
        evpn_facts.probe(),
    )
}
"""Probes of methods, by the folder of their captures."""
KINDS = {kind.kind: kind for kind in kinds.all_kinds()}


def read(path: Path) -> str:
    """The expected text of one capture: one line per resource with our mark, or per fact."""
    kind, text = path.parent.name, path.read_text().strip()
    if kind == "host":
        facts = host_probe.parse("host", text)
        values = {field.name: getattr(facts, field.name) for field in fields(facts)}
        values["tools"] = sorted(facts.tools)  # the order of a set changes from run to run
        return "".join(f"{key}: {value!r}\n" for key, value in values.items())
    if kind in PROBES:
        facts = PROBES[kind].parse(text)
        return "".join(f"{f.name}: {getattr(facts, f.name)!r}\n" for f in fields(facts))
    inventory, suite = path.stem.split("-")
    host = HOSTS[suite] if inventory == "flannel" else "host"
    origin = Origin(host, INVENTORIES[inventory])
    entries = KINDS[kind].parse(text, origin)
    return "".join(f"{all_fields(entry.resource)}\n" for entry in entries if entry.ours)


def all_fields(resource: Resource) -> str:
    """The resource as `repr` prints it, but with its secrets."""
    shown = [
        field.name for field in fields(resource) if field.repr or field.metadata == SECRET_PAIRS
    ]
    values = [f"{name}={getattr(resource, name)!r}" for name in shown]
    return f"{type(resource).__name__}({', '.join(values)})"


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_capture_is_parsed_as_expected(path: Path, request: pytest.FixtureRequest) -> None:
    """The output of iproute2, iptables and Docker in each suite gives the same resources."""
    expected = path.with_suffix(".expected")
    if request.config.getoption("update_goldens"):
        expected.write_text(read(path))
    assert read(path) == expected.read_text()


def test_every_kind_has_captures_of_three_suites() -> None:
    """Each suite has other versions of the programs that the probes run."""
    for kind in KINDS:
        suites = {path.stem.split("-")[1] for path in (FOLDER / kind).glob("*.txt")}
        assert suites == {"bookworm", "sid", "trixie"}, kind


def test_captures_contain_resources_with_our_mark() -> None:
    """Nearly every kind has at least one capture with such a resource."""
    marked = {path.parent.name for path in CAPTURES if read(path)}
    # Docker itself had enabled forwarding; the images and packages existed before apply. The rules
    # of Docker and the policy of FORWARD are never ours.
    unmarked = {"image", "image_archive", "package", "sysctl", "docker_firewall", "forward_policy"}
    assert {*KINDS, *PROBES, "host"} - marked == unmarked

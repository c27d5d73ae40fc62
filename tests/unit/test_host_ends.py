"""Checks of a host and of a container with its name: `verify` keeps both apart."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from provision.checks.access_probe import AccessProbe
from provision.checks.failure_groups import failure_groups
from provision.checks.lan_probe import LanEndpoint, LanProbe
from provision.checks.matrix import pair_verdicts
from provision.checks.ports import Publication
from provision.checks.run import Verification
from provision.checks.subjects import Check, about
from provision.checks.text import as_json
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.show.graph.verdict import read

TEXT = """\
name: demo
hosts: {h1: {address: 10.0.0.1}, h2: {address: 10.0.0.2}, h3: {address: 10.0.0.3}}
networks: {n: {method: routes, cidr: 172.20.0.0/16, access: [hosts]}}
containers:
  h1: {host: h3, network: n}
  c2: {host: h2, network: n, ports: ["8080:80"]}
"""
ADDRESS = IPv4Address("10.0.0.1")


@pytest.fixture
def demo(tmp_path: Path) -> Inventory:
    """Container h1 is not on host h1."""
    path = tmp_path / "demo.yml"
    path.write_text(TEXT)
    return load(path)


def subjects(demo: Inventory) -> list[tuple[str, str, Any, tuple[str, ...]]]:
    """Check, kind and subject of host or container h1, and the ends that are hosts."""
    same, other = demo.containers["h1"], demo.containers["c2"]
    port = other.ports[0]
    on_lan = LanEndpoint("h1", "h1", "lan", 0, 0, "eth1", ADDRESS, 1500)
    inside = replace(on_lan, pid=7)
    return [
        ("drift", "host", "h1", ("from", "to")),
        ("handshake", "network_member", ("h1", demo.networks["n"]), ("from", "to")),
        ("mode", "container", same, ()),
        ("ping", "pair", (same, other), ()),
        ("access", "allowed_host", AccessProbe("h1", other), ("from",)),
        ("refused", "stranger", AccessProbe("h1", other, ADDRESS), ()),
        ("dnat", "published_port", (other, port), ("from",)),
        ("port", "publication", Publication(None, "h1", other, port, ADDRESS), ("from",)),
        ("port", "publication", Publication("h1", "h3", other, port, ADDRESS), ()),
        ("arp", "arp_probe", LanProbe("reach", on_lan, "c2", ADDRESS, ("from",)), ("from",)),
        ("arp", "arp_probe", LanProbe("reach", inside, "h2", ADDRESS, ("to",)), ("to",)),
    ]


def test_each_check_tells_which_ends_are_hosts(demo: Inventory) -> None:
    """By its subject, not by the name."""
    for check, kind, subject, host_ends in subjects(demo):
        made = about(check, kind, subject)
        assert made.host_ends == host_ends, check
        (entry,) = as_json(verification(demo, [made]))["checks"]
        assert entry["host_ends"] == list(host_ends)


def verification(demo: Inventory, checks: Iterable[Check]) -> Verification:
    """A finished verify with these checks."""
    return Verification(demo, tuple(demo.containers.values()), (), tuple(checks), (), 1.0)


@pytest.mark.parametrize(("check", "host", "container"), [
    ("access", "failed", "ok"), ("ping", "ok", "failed"), ("drift", "failed", "ok"),
    ("mode", "ok", "failed"),
])  # fmt: skip
def test_the_drawing_keeps_them_apart(
    demo: Inventory, check: str, host: str, container: str
) -> None:
    """A failed check of one does not paint the other. Results of earlier versions paint both."""
    checks = [
        replace(about(name, kind, subject), ok=name != check)
        for name, kind, subject, _ in subjects(demo)
    ]
    result = as_json(verification(demo, checks))
    verdict = read(json.dumps(result), "v.json")
    assert (verdict.host("h1"), verdict.container("h3", "h1")) == (host, container)
    for entry in result["checks"]:
        del entry["host_ends"]
    verdict = read(json.dumps(result), "v.json")
    assert verdict.host("h1") == verdict.container("h3", "h1") == "failed"


def test_a_call_of_the_host_is_no_pair_of_the_container(demo: Inventory) -> None:
    """Neither in the table, nor in what the failures share."""
    other = demo.containers["c2"]
    ping = replace(about("ping", "pair", (demo.containers["h1"], other)), ok=True)
    access = about("access", "allowed_host", AccessProbe("h1", other))
    assert pair_verdicts(verification(demo, [ping, access])) == {("h1", "c2"): "ok"}
    (group,) = failure_groups(demo, [ping, access])
    assert group.hosts == ("h1", "h2")

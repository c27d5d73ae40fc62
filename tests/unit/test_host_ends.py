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
from provision.checks.lan_probe import LanEndpoint, LanProbe, lan_probes, script
from provision.checks.matrix import ends, lines, pair_verdicts
from provision.checks.page import hosts_of, numbers_of
from provision.checks.ports import Publication
from provision.checks.run import HostRow, Verification
from provision.checks.subjects import Check, about
from provision.checks.text import as_json, cell, sampled_rows
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


def lan_ends() -> tuple[LanEndpoint, ...]:
    """The host h1, a container of that name on h3, and c2 on h2."""
    host = LanEndpoint("h1", "h1", "lan", 0, 0, "eth1", ADDRESS, 1500)
    same = replace(host, host="h3", pid=7, link="eth0", address=ADDRESS + 100)
    other = replace(same, name="c2", host="h2", pid=8, address=ADDRESS + 101)
    return host, same, other


def test_both_probe_each_other_on_a_lan() -> None:
    """The answers of the host and those of the container have other ends."""
    made = lan_probes(lan_ends())
    reaching = {
        (probe.source.key, probe.target_key): probe.address
        for probe in made
        if probe.kind == "reach"
    }
    assert len(reaching) == 6
    assert reaching["host:h1", "h1"] == ADDRESS + 100
    assert reaching["h1", "host:h1"] == reaching["c2", "host:h1"] == ADDRESS
    text = script(made)
    assert "host:h1 eth1 1500 own host:h1 10.0.0.1 reach h1 10.0.0.101" in text
    assert " h1 eth0 1500 own h1 10.0.0.101 reach host:h1 10.0.0.1 " in text


def test_both_have_a_row_and_a_column_of_the_table(demo: Inventory) -> None:
    """And a failure of one is not one of the other."""
    checks = [
        replace(about("arp", "arp_probe", probe), ok=probe.target_key != "h1")
        for probe in lan_probes(lan_ends())
        if probe.kind == "reach"
    ]
    result = replace(verification(demo, checks), containers=(), lans={"lan": lan_ends()})
    (shown,) = ends(result).values()
    assert [end.key for end in shown] == ["host:h1", "h1", "c2"]
    title, _, *rows = lines(result, "lan", shown)
    assert title == "network lan: arp from (row) to (column)"
    assert [row.split()[-3:] for row in rows] == [
        ["·", "FAIL", "ok"], ["ok", "·", "ok"], ["ok", "FAIL", "·"]
    ]  # fmt: skip
    verdicts = pair_verdicts(result)
    assert [cell(verdicts, end, shown[1]) for end in shown] == ["FAILED arp", "·", "FAILED arp"]
    assert [row[0] for row in sampled_rows(result, shown)] == ["h1 on h1", "h1 on h3", "c2 on h2"]
    (group,) = failure_groups(demo, checks)
    assert len(group.pairs) == 2


def test_a_failure_is_shown_with_the_right_hosts(demo: Inventory) -> None:
    """The page marks the rows of a host by its number."""
    rows = tuple(HostRow(name, "", "", "", "", ()) for name in demo.hosts)
    numbers = numbers_of(replace(verification(demo, ()), hosts=rows))
    shown = {
        (check, made.end_keys): hosts_of(numbers, made)
        for check, kind, subject, _ in subjects(demo)
        for made in (about(check, kind, subject),)
    }
    assert shown["drift", ("host:h1", "host:h1")] == [1]
    assert shown["ping", ("h1", "c2")] == [2, 3]
    assert shown["access", ("host:h1", "c2")] == [1, 2]

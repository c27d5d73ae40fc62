"""A host leaves the file and comes back on booted hosts: nobody else moves."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts, assert_same

pytestmark = pytest.mark.lab

NAMES = ("    method: routes\n", "    method: routes\n    names: true\n")
FILE = "demo.yml"
"""The file of every step: from another one, plan and apply warn."""


def changes(hosts: Hosts, container: str) -> tuple[tuple[str, str], ...]:
    """What takes h2 and its container out of a file."""
    (line,) = (
        line
        for line in (hosts.lab.folder / FILE).read_text().splitlines(keepends=True)
        if line.startswith(f"  {container}:")
    )
    return (f"  h2: {{address: {hosts.networks[1]}.12}}\n", ""), (line, "")


@contextmanager
def pinging(hosts: Hosts, source: str, address: str) -> Iterator[None]:
    """A container of h1 sends ten packets a second, and each must be answered."""
    ping = f"echo $$ >/tmp/ping.pid; exec ping -i 0.1 {address}"
    argv = ("ssh", "-F", str(hosts.lab.ssh_config), "h1", f"docker exec {source} sh -c '{ping}'")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # PING …, and the first answer: from now on the path is known to both sides.
        first = [process.stdout.readline() for _ in range(2)]
        assert first[1]
        try:
            yield
        finally:
            hosts.ssh("h1", f"docker exec {source} sh -c 'kill -INT $(cat /tmp/ping.pid)'")
            output = "".join((*first, process.communicate(timeout=60)[0]))
    answered = [int(number) for number in re.findall(r"seq=(\d+)", output)]
    # The signal may come before the answer to the last one.
    assert answered == list(range(answered[-1] + 1)), output[-500:]
    (sent,) = re.findall(r"(\d+) packets transmitted", output)
    assert int(sent) - len(answered) <= 1, output[-500:]


def state(hosts: Hosts, host: str, container: str) -> Any:
    """The container's id, start and addresses."""
    fields = "{{.Id}} {{.State.StartedAt}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return hosts.ssh(host, f"docker inspect -f '{fields}' {container}").split()


@pytest.mark.parametrize(
    "example, network, subnets, containers, change",
    [
        ("routes.yml", "blue", "172.20", "c1 c2 c3", (NAMES,)),
        pytest.param("vxlan.yml", "plain", "172.31", "w1 w2 w3", (), marks=pytest.mark.full),
    ],
)
def test_the_host_in_the_middle_leaves_and_comes_back(
    mixed: Hosts,
    example: str,
    network: str,
    subnets: str,
    containers: str,
    change: tuple[tuple[str, str], ...],
) -> None:
    """The others keep subnets, containers and connections; the plan says what to write."""
    first, middle, last = containers.split()
    mixed.inventory(example, *change, to=FILE)
    before = mixed.capture()
    try:
        mixed.provision("apply", FILE)
        mixed.verified(FILE)
        kept = {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)}
        without = (*change, *changes(mixed, middle))
        mixed.inventory(example, *without, to=FILE)
        _leaves(mixed, network, subnets, (first, kept["h3"][-1]))
        assert {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)} == kept
        _is_written(mixed, example, network, subnets, without)
        mixed.inventory(example, *change, to=FILE)
        with pinging(mixed, first, kept["h3"][-1]):
            result = mixed.json("apply", FILE)
        assert {change["kind"] for change in result["changes"]}.isdisjoint(MOVING), result
        mixed.verified(FILE)
        assert mixed.json("apply", FILE)["changes"] == []
        assert mixed.json("plan", FILE)["warnings"] == []
        assert {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)} == kept
    finally:
        power.start(mixed.lab, say=print)
        mixed.inventory(example, *change, to=FILE)
        mixed.provision("destroy", FILE, "--yes", status=None)
    assert_same(before, mixed.capture())


MOVING = {"docker_network", "container"}
"""Kinds of which a change disturbs containers."""


def _leaves(hosts: Hosts, network: str, subnets: str, ping: tuple[str, str]) -> None:
    """The plan names the host that left and the line to write; apply moves nobody."""
    plan = hosts.json("plan", FILE)
    assert {change["kind"] for change in plan["changes"]}.isdisjoint(MOVING), plan["changes"]
    departed, explicit = plan["warnings"]
    left = f"{hosts.networks[1]}.12"
    assert f"of hosts that are not in this file: {left}" in departed
    if network == "blue":
        assert f"{left} (with {subnets}.1.0/24 of network 'blue')" in departed
    assert explicit.endswith(f"write: networks.{network}.subnets: {{h3: {subnets}.2.0/24}}")
    with pinging(hosts, *ping):
        result = hosts.json("apply", FILE)
    assert set(result["hosts"].values()) == {"confirmed"}
    hosts.verified(FILE)
    assert hosts.json("apply", FILE)["changes"] == []
    shown = hosts.json("show", FILE)["networks"][0]["hosts"]
    assert {host: entry["subnet"] for host, entry in shown.items()} == {
        "h1": f"{subnets}.0.0/24",
        "h3": f"{subnets}.2.0/24",
    }
    assert all(entry["bridge"] for entry in shown.values()), shown


def _is_written(
    hosts: Hosts, example: str, network: str, subnets: str, change: tuple[tuple[str, str], ...]
) -> None:
    """With the proposed line nothing changes, and nothing is proposed any more."""
    cidr = f"    cidr: {subnets}.0.0/16"
    line = (cidr, f"    subnets: {{h3: {subnets}.2.0/24}}\n{cidr}")
    hosts.inventory(example, *change, line, to=FILE)
    hosts.provision("validate", FILE)
    deadline = time.monotonic() + 60
    while (plan := hosts.json("plan", FILE))["changes"]:
        # A follower may be about to put something back.
        assert time.monotonic() < deadline, plan["changes"]
        time.sleep(1)
    assert plan["warnings"] == [], network


def test_parts_of_a_pool_stay_where_they_are(mixed: Hosts) -> None:
    """Two hosts would get larger parts by the file; those that remain keep what they have."""
    example, first = "macvlan.yml", 208
    lan = mixed.networks[1].removesuffix(".0")
    mixed.inventory(example, to=FILE)
    before = mixed.capture()
    try:
        mixed.provision("apply", FILE)
        kept = {"h1": state(mixed, "h1", "c1"), "h3": state(mixed, "h3", "c3")}
        without = changes(mixed, "c2")
        mixed.provision("destroy", FILE, "--limit", "h2", "--yes")
        mixed.inventory(example, *without, to=FILE)
        (explicit,) = mixed.json("plan", FILE)["warnings"]
        pins = f"subnets: {{h1: {lan}.{first}/30, h3: {lan}.{first + 8}/30}}"
        assert explicit.endswith(f"write: networks.lan.{pins}"), explicit
        assert mixed.json("apply", FILE)["changes"] == []
        mixed.verified(FILE, skips=["wire", "broadcast"])
        pool = f"    pool: {lan}.{first}/28"
        mixed.inventory(example, *without, (pool, f"    {pins}\n{pool}"), to=FILE)
        plan = mixed.json("plan", FILE)
        assert (plan["changes"], plan["warnings"]) == ([], [])
        mixed.inventory(example, to=FILE)
        mixed.provision("apply", FILE)
        mixed.verified(FILE, skips=["wire", "broadcast"])
        assert {"h1": state(mixed, "h1", "c1"), "h3": state(mixed, "h3", "c3")} == kept
    finally:
        mixed.inventory(example, to=FILE)
        mixed.provision("destroy", FILE, "--yes", status=None)
    assert_same(before, mixed.capture())


@pytest.mark.full
@pytest.mark.parametrize(
    ("example", "containers"),
    [("flannel-vxlan.yml", "c1 c2 c3"), ("wireguard.yml", "s1 s2 s3")],
)
def test_leases_and_peers_name_a_host_that_left(
    mixed: Hosts, example: str, containers: str
) -> None:
    """With other methods, too, the plan names it, and the others keep their containers."""
    first, middle, last = containers.split()
    mixed.inventory(example, to=FILE)
    before = mixed.capture()
    try:
        mixed.provision("apply", FILE)
        mixed.verified(FILE)
        kept = {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)}
        mixed.inventory(example, *changes(mixed, middle), to=FILE)
        (departed,) = (
            warning
            for warning in mixed.json("plan", FILE)["warnings"]
            if "of hosts that are not in this file" in warning
        )
        assert " h2" in departed and "provision destroy" in departed, departed
        mixed.provision("apply", FILE)
        mixed.verified(FILE)
        assert {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)} == kept
        warnings = mixed.json("plan", FILE)["warnings"]
        assert not [each for each in warnings if "not in this file" in each], warnings
        mixed.inventory(example, to=FILE)
        mixed.provision("apply", FILE)
        mixed.verified(FILE)
        assert {"h1": state(mixed, "h1", first), "h3": state(mixed, "h3", last)} == kept
    finally:
        power.start(mixed.lab, say=print)
        mixed.inventory(example, to=FILE)
        mixed.provision("destroy", FILE, "--yes", status=None)
    assert_same(before, mixed.capture())

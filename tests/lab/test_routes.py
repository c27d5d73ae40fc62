"""Method `routes` on booted hosts with Docker 20.10, 26.1 and 28.5."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.selection import sampled

pytestmark = pytest.mark.lab

EXAMPLES = ("routes.yml", "routes-docker0.yml")


def assert_verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> None:
    """All checks of all ordered pairs pass, at most `within_s` seconds from now."""
    checks = hosts.verified(inventory, within_s=within_s)["checks"]
    of_hosts = ("drift", "mode")
    pairs = {(c["from"], c["to"], c["check"]) for c in checks if c["check"] not in of_hosts}
    assert len(pairs) == 6 * 7, pairs


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards both examples are destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    for name in EXAMPLES:
        mixed.provision("destroy", mixed.inventory(name), "--yes", status=None)


@pytest.fixture
def applied(clean: Hosts) -> tuple[Hosts, str]:
    """Three hosts with routes.yml applied, and its file name."""
    inventory = clean.inventory("routes.yml")
    clean.provision("apply", inventory)
    return clean, inventory


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """Verify passes, a second apply changes nothing, and destroy restores the hosts."""
    inventory = clean.inventory(example)
    before = clean.capture()
    result = clean.json("apply", inventory)
    assert set(result["hosts"].values()) == {"confirmed"}
    assert_verified(clean, inventory)
    assert clean.json("apply", inventory)["changes"] == []
    assert clean.provision("plan", inventory, "--detailed-exitcode").startswith("No change.")
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())
    assert clean.json("plan", inventory)["changes"]


@pytest.mark.full
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_on_one_suite(booted: Callable[[str], Hosts], suite: str, example: str) -> None:
    """The example works on three hosts of the same suite."""
    test_an_example_from_apply_to_destroy(booted(suite), example)


def test_apply_needs_five_executions_or_one_without_a_change(clean: Hosts) -> None:
    """Snapshot, arm, act, snapshot, confirm; without a change, the first snapshot is enough."""
    inventory = clean.inventory("routes.yml")
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 5)
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)


def test_verify_checks_the_pairs_that_it_is_asked_for(
    applied: tuple[Hosts, str], tmp_path: Path
) -> None:
    """A ring, and a sample that its seed repeats; JUnit has a row for each check of each pair."""
    hosts, inventory = applied
    hosts.verified(inventory)
    ring = hosts.json("verify", inventory, "--pairs", "hosts")
    assert ring["ok"] and ring["pairs"] == {"choice": "hosts", "seed": None, "checked": 3, "all": 6}
    assert pairs_of(ring) == {("c1", "c2"), ("c2", "c3"), ("c3", "c1")}
    junit = tmp_path / "junit.xml"
    sampled = ("--pairs", "sample:1", "--seed", "7")
    first = hosts.json("verify", inventory, *sampled, "--junit", str(junit))
    assert first["ok"] and pairs_of(first) > pairs_of(ring)
    again = hosts.json("verify", inventory, *sampled, "-k", "c1-c2 or c2-c3 or c3-c1")
    assert pairs_of(again) == pairs_of(ring)
    rows = [case.get("name") for case in ElementTree.parse(junit).iter("testcase")]
    assert len(rows) == len(first["checks"]) and "test_broadcast[c1-c2]" in rows
    # A pair that was not called would have no answer, and fail.
    kinds = {check["check"] for check in ring["checks"]}
    assert kinds == {"drift", "mode", *PAIR_CHECKS}


PAIR_CHECKS = ("ping", "source", "mtu", "tcp", "udp", "wire", "broadcast")


def pairs_of(result: dict[str, Any]) -> set[tuple[str, str]]:
    """The pairs of containers of which a verify has checks."""
    checks = result["checks"]
    return {(c["from"], c["to"]) for c in checks if c["check"] in PAIR_CHECKS}


def test_plan_shows_exactly_the_drift_and_apply_repairs_it(applied: tuple[Hosts, str]) -> None:
    """The plan creates the route, the rule and the container that were deleted by hand."""
    hosts, inventory = applied
    hosts.damage("h1", "ip route del 172.20.2.0/24")
    chain = hosts.ssh("h2", "iptables -S | sed -n 's/^-N \\(PROV-.*\\)/\\1/p'").strip()
    hosts.damage("h2", f"iptables -D {chain} 1")
    hosts.ssh("h3", "docker rm -f c3")
    changes = hosts.json("plan", inventory)["changes"]
    assert sorted((c["host"], c["kind"], c["name"]) for c in changes) == [
        ("h1", "routes", "blue"),
        ("h2", "iptables_chain", f"filter/{chain}"),
        ("h3", "container", "c3"),
    ]
    (rows,) = [change["rows"] for change in changes if change["kind"] == "routes"]
    assert [(row["name"], row["verb"], row["before"]) for row in rows] == [
        ("172.20.2.0/24", "update", "lost")
    ]
    assert not hosts.json("verify", inventory, status=7)["ok"]
    hosts.provision("apply", inventory)
    assert hosts.json("plan", inventory)["changes"] == []
    assert_verified(hosts, inventory)


EVENTS = {
    "docker restarts": "systemctl restart docker",
    "containers restart": "docker restart -t 0 $(docker ps -q)",
    "the link goes down and up": "ip link set dev eth1 down; sleep 1; ip link set dev eth1 up",
    "networkctl reload": "networkctl reload",
    "networkctl reconfigure": "networkctl reconfigure eth1",
}


@pytest.mark.parametrize("event", sampled(EVENTS, "docker restarts", "networkctl reconfigure"))
def test_the_network_survives(applied: tuple[Hosts, str], event: str) -> None:
    """The hosts repair the network within 60 s, without the controller."""
    hosts, inventory = applied
    for host in HOSTS:
        hosts.ssh(host, EVENTS[event])
    assert_verified(hosts, inventory, within_s=60)
    assert hosts.json("plan", inventory)["changes"] == []


def test_the_network_survives_reboots(applied: tuple[Hosts, str]) -> None:
    """One host is back within 60 s, all three within 120 s."""
    hosts, inventory = applied
    power.reboot(hosts.lab, ("h2",), say=print)
    assert_verified(hosts, inventory, within_s=60)
    policy = "iptables -S FORWARD | head -n 1"
    before = [hosts.ssh(host, policy) for host in HOSTS]
    power.reboot(hosts.lab, HOSTS, say=print)
    assert_verified(hosts, inventory, within_s=120)
    assert [hosts.ssh(host, policy) for host in HOSTS] == before
    assert hosts.json("plan", inventory)["changes"] == []


def test_a_host_that_is_off_stops_the_change_or_is_left_out(clean: Hosts) -> None:
    """Apply exits with 4 and changes no host; with per-host, it changes the others (6).

    So does a rolling change that allows one failure; without it, nothing is changed.
    """
    inventory = clean.inventory("routes.yml")
    before = clean.ssh("h1", "ip route; iptables-save | grep -c PROV", check=False)
    power.poweroff(clean.lab, "h2")
    begin = time.monotonic()
    result = clean.json("apply", inventory, status=4)
    assert time.monotonic() - begin <= 60
    assert result["hosts"] == {"h1": "unchanged", "h2": "unreachable", "h3": "unchanged"}
    assert clean.ssh("h1", "ip route; iptables-save | grep -c PROV", check=False) == before
    result = clean.json("apply", inventory, "--strategy", "per-host", status=6)
    assert result["hosts"] == {"h1": "confirmed", "h2": "unreachable", "h3": "confirmed"}
    clean.json("verify", inventory, status=4)
    rolling = ("--strategy", "rolling=1")
    stopped = clean.json("destroy", inventory, "--yes", *rolling, status=4)
    assert stopped["hosts"] == {"h1": "unchanged", "h2": "unreachable", "h3": "unchanged"}
    for verb in (("destroy", inventory, "--yes"), ("apply", inventory)):
        result = clean.json(*verb, *rolling, "--max-failures", "1", status=6)
        assert result["hosts"] == {"h1": "confirmed", "h2": "unreachable", "h3": "confirmed"}
    power.start(clean.lab, say=print)
    clean.provision("apply", inventory)
    assert_verified(clean, inventory)


def test_two_inventories_share_the_hosts(applied: tuple[Hosts, str]) -> None:
    """Destroying the first one changes nothing of the second one."""
    hosts, inventory = applied
    changes = (("name: demo", "name: second"), ("172.20.", "172.29."), ("blue", "green"))
    renamed = [(f"  {name}:", f"  other-{name}:") for name in ("c1", "c2", "c3")]
    second = hosts.inventory("routes.yml", *changes, *renamed, to="second.yml")
    hosts.provision("apply", second)
    assert_verified(hosts, second)
    assert hosts.json("plan", inventory)["changes"] == []
    hosts.provision("destroy", inventory, "--yes")
    assert hosts.json("plan", second)["changes"] == []
    assert_verified(hosts, second)
    hosts.provision("destroy", second, "--yes")


def test_a_foreign_network_or_container_is_a_conflict(clean: Hosts) -> None:
    """Plan names the network and the container without our mark, and apply changes no host."""
    inventory = clean.inventory("routes.yml")
    clean.ssh("h3", "docker network create --subnet 192.0.2.0/24 blue")
    clean.ssh("h2", "docker run -d --name c2 busybox sleep 1000")
    try:
        text = clean.provision("plan", inventory, status=9)
        assert "h3: conflict: docker_network blue exists outside this inventory" in text
        assert "h2: conflict: container c2 exists outside this inventory" in text
        clean.provision("apply", inventory, status=9)
        assert "PROV-" not in clean.ssh("h1", "iptables-save")
    finally:
        clean.ssh("h3", "docker network rm blue")
        clean.ssh("h2", "docker rm -f c2")


def test_an_overlapping_range_is_a_conflict(clean: Hosts) -> None:
    """Plan names the foreign range and its bridge."""
    inventory = clean.inventory("routes.yml")
    clean.ssh("h1", "docker network create --subnet 172.20.77.0/24 theirs")
    try:
        text = clean.provision("plan", inventory, status=9)
        assert "172.20.0.0/16 overlaps 172.20.77.0/24 on br-" in text
    finally:
        clean.ssh("h1", "docker network rm theirs")


DEBUG_FALSE = """mkdir -p /etc/docker; echo '{"debug": false}' >/etc/docker/daemon.json"""
ATTRIBUTES = {
    "h1": ":",
    "h2": "chmod 600 /etc/docker/daemon.json; chown root:docker /etc/docker/daemon.json",
    "h3": "mv /etc/docker/daemon.json /srv; ln -s /srv/daemon.json /etc/docker; chmod 640 /srv/d*",
}
"""Shell text by host that gives daemon.json another mode, owner or place."""
MODES = "stat -c '%A %U %G %N' /etc/docker/daemon.json /srv/daemon.json 2>/dev/null; :"


def test_docker0_restarts_docker_once_and_starts_the_containers_again(clean: Hosts) -> None:
    """A container without a restart policy runs again; daemon.json keeps its other keys."""
    for host, attributes in ATTRIBUTES.items():
        clean.ssh(host, f"{DEBUG_FALSE}; {attributes}")
        clean.ssh(host, "docker run -d --restart no --name own busybox sleep 1000")
    modes = clean.everywhere(MODES)
    try:
        inventory = clean.inventory("routes-docker0.yml")
        start_time = "systemctl show -p ActiveEnterTimestampMonotonic docker"
        plan = clean.provision("plan", inventory)
        assert "! Docker restarts; 1 running container stops and starts again" in plan
        clean.provision("apply", inventory)
        times = [clean.ssh(host, start_time) for host in HOSTS]
        for host in HOSTS:
            assert "true" in clean.ssh(host, "docker inspect -f '{{.State.Running}}' own")
            assert '"debug": false' in clean.ssh(host, "cat /etc/docker/daemon.json")
        assert clean.everywhere(MODES) == modes
        assert_verified(clean, inventory)
        assert clean.json("apply", inventory)["changes"] == []
        clean.ssh("h1", "ip link delete docker0")
        clean.ssh("h2", "ip address flush dev docker0")
        plan = clean.provision("plan", inventory)
        assert "lacks: interface docker0, port of c1" in plan and "! Docker" not in plan, plan
        clean.provision("apply", inventory)
        assert_verified(clean, inventory)
        assert clean.json("apply", inventory)["changes"] == []
        assert [clean.ssh(host, start_time) for host in HOSTS] == times
        clean.provision("destroy", inventory, "--yes")
        for host in HOSTS:
            assert clean.ssh(host, "cat /etc/docker/daemon.json") == '{"debug": false}\n'
            assert "true" in clean.ssh(host, "docker inspect -f '{{.State.Running}}' own")
        assert clean.everywhere(MODES) == modes
    finally:
        files = "/etc/docker/daemon.json /srv/daemon.json"
        clean.everywhere(f"docker rm -f own; rm -f {files}; systemctl restart docker")


def test_a_killed_apply_can_be_repeated(clean: Hosts) -> None:
    """After a kill at any moment, the next apply makes all changes."""
    inventory = clean.inventory("routes.yml")
    program = str(Path(sys.executable).with_name("provision"))
    for delay_s in (1.2, 1.8, 2.4):
        process = subprocess.Popen(
            (program, "apply", inventory),
            cwd=clean.lab.folder,
            stdout=subprocess.DEVNULL,
            env=clean.environment,
        )
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        clean.provision("apply", inventory)
        assert clean.json("plan", inventory)["changes"] == []
        clean.provision("destroy", inventory, "--yes")


def test_ctrl_c_rolls_back_within_seconds(clean: Hosts) -> None:
    """Apply exits with 130 within 15 s, also if a host waits for a lock, once that is free."""
    inventory = clean.inventory("routes.yml")
    program = str(Path(sys.executable).with_name("provision"))
    lock = "echo $$ >/run/holder; exec 9>/run/provision-demo.lock; flock 9; exec sleep 300"
    clean.ssh("h2", f"nohup sh -c '{lock}' >/dev/null 2>&1 &")
    process = subprocess.Popen(
        (program, "apply", inventory),
        cwd=clean.lab.folder,
        env=clean.environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    clean.ssh("h2", "until pgrep -x flock >/dev/null; do sleep 0.2; done")
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    clean.ssh("h2", "kill $(cat /run/holder); rm /run/holder")
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, time.monotonic() - begin < 15) == (130, True), errors
    assert "Interrupted. Rolling the change back" in errors and "Traceback" not in errors
    clean.provision("apply", inventory)
    assert clean.json("plan", inventory)["changes"] == []


def test_an_image_archive_of_the_controller_is_loaded(clean: Hosts) -> None:
    """The container runs the archive's image, and destroy removes the image again."""
    archive = clean.lab.folder / "tiny.tar"
    with archive.open("wb") as file:
        argv = ("ssh", "-F", str(clean.lab.ssh_config), "h1")
        save = "docker tag busybox tiny:1 && docker save tiny:1 && docker rmi tiny:1 >/dev/null"
        subprocess.run((*argv, save), stdout=file, check=True)
    change = (
        "  c2: {host: h2, network: blue}",
        "  c2: {host: h2, network: blue, image: {archive: tiny.tar}, command: [sleep, infinity]}",
    )
    text = (clean.lab.folder / clean.inventory("routes.yml")).read_text()
    line = next(line for line in text.splitlines() if line.startswith("  c2:"))
    inventory = clean.inventory("routes.yml", (line, change[1]))
    clean.provision("apply", inventory)
    assert "tiny:1" in clean.ssh("h2", "docker ps --format '{{.Image}}'")
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert "tiny" not in clean.ssh("h2", "docker image ls")
    assert not clean.ssh("h2", "ls -d /var/lib/provision", check=False)

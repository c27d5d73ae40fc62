"""Edges of the controller and of hosts: lost output, lost terminals, names in use, odd Dockers."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.faults import Faults
from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records

pytestmark = [pytest.mark.lab, pytest.mark.full]

PROVISION = str(Path(sys.executable).with_name("provision"))
NO_BRIDGE = """mkdir -p /etc/docker; echo '{"bridge": "none"}' >/etc/docker/daemon.json
systemctl restart docker"""
DOCKER_AGAIN = "rm /etc/docker/daemon.json; systemctl restart docker"
LINK = "br-blue-v242wt"
"""The bridge of network `blue` of routes.yml."""
IN_USE = {
    "h1": f"ip link add {LINK} type bridge; ip address add 10.66.0.1/24 dev {LINK}",
    "h2": f"ip link add {LINK} type veth peer name strange",
    "h3": "ip link add bri0 type veth peer name strange",
}
SHOW_LINKS = "ip -o address show dev %s; ip -o link show dev %s"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without the inventories of these tests, also after a failure."""
    yield mixed
    mixed.destroy_all()


def shell(hosts: Hosts, *arguments: str, redirect: str) -> int:
    """The exit status of `provision` with the redirection of a shell."""
    process = subprocess.run(
        ("bash", "-o", "pipefail", "-c", f'"$@" {redirect}', "bash", PROVISION, *arguments),
        cwd=hosts.lab.folder,
        env=hosts.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in process.stdout + process.stderr, process
    return process.returncode


def test_a_change_ends_although_its_output_is_lost(clean: Hosts) -> None:
    """The hosts keep it; status 1 says that output was lost."""
    name, before = clean.inventory("routes.yml"), clean.capture()
    # The reader of the last one ends long before the first line is written.
    for lost, also_lost in ((">/dev/full", "-v 2>/dev/full"), ("-v >&- 2>&-", "> >(true)")):
        assert shell(clean, "apply", name, redirect=lost) == 1
        assert clean.json("plan", name)["changes"] == []
        assert shell(clean, "destroy", name, "--yes", redirect=also_lost) == 1
        assert_same(*map(without_records, (before, clean.capture())))
        assert set(clean.json("status", name)["hosts"].values()) <= {"confirmed", "unchanged"}


def test_a_lost_terminal_rolls_back_on_all_hosts_at_once(faults: Faults, inventory: str) -> None:
    """The kernel sends SIGHUP, and every write to the terminal fails from then on."""
    faults.at_step("h2", 4, "sleep 30")
    master, terminal = os.openpty()
    run = subprocess.Popen(
        (PROVISION, "apply", inventory),
        cwd=faults.hosts.lab.folder,
        env=faults.hosts.environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    while not faults.inside("h2", "ls /run/fault/done 2>/dev/null"):
        assert run.poll() is None
        time.sleep(0.1)
    os.close(master)
    assert run.wait(60) == 130
    assert set(faults.states(inventory).values()) == {"reverted (operator)"}
    faults.heal()
    faults.assert_restored()


def test_an_interrupted_verify_has_not_passed(clean: Hosts) -> None:
    """Lost packets give it work for seconds; the signal comes while packets are lost."""
    name = clean.inventory("routes.yml")
    clean.provision("apply", name)
    clean.ssh("h2", f"ip link set {LINK} down")
    run = subprocess.Popen(
        (PROVISION, "verify", name),
        cwd=clean.lab.folder,
        env=clean.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # A check on h1 waits for answers of the container whose bridge is down.
    checks = "pgrep -f 'seconds, @[r]est'"  # checks/call.pl
    while not clean.inside("h1", checks).strip() and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    # It may have no answer yet: then no check has passed.
    assert re.search("interrupted after |^Interrupted before the first check", output), output


def test_a_link_of_our_name_is_a_conflict_and_survives(clean: Hosts) -> None:
    """A bridge with an address of others, and ends of veth pairs, before anything is armed."""
    names = {"h1": LINK, "h2": LINK, "h3": "bri0"}
    try:
        for host, command in IN_USE.items():
            clean.ssh(host, command)
        links = {host: clean.ssh(host, SHOW_LINKS % (name, name)) for host, name in names.items()}
        for example, hosts in (("routes.yml", ("h1", "h2")), ("pipework.yml", ("h3",))):
            name = clean.inventory(example)
            plan = clean.provision("plan", name, status=9)
            for host in hosts:
                assert f"{host}: conflict: " in plan and names[host] in plan, plan
            clean.provision("apply", name, "--yes", status=9)
            clean.provision("destroy", name, "--yes", status=None)
        for host, name in names.items():
            assert clean.ssh(host, SHOW_LINKS % (name, name)) == links[host]
    finally:
        for host, name in names.items():
            clean.ssh(host, f"ip link delete {name}", check=False)


def test_a_first_value_is_that_from_before_the_first_change(clean: Hosts) -> None:
    """Not what somebody set while the inventory was applied."""
    before, name = clean.capture(), clean.inventory("routes.yml")
    clean.provision("apply", name)
    # The follower would set it again before the plan sees it.
    clean.everywhere("systemctl stop provision-demo-follow; sysctl -q -w net.ipv4.ip_forward=0")
    changes = clean.json("plan", name)["changes"]
    assert {(c["host"], c["kind"]) for c in changes} >= {(host, "sysctl") for host in HOSTS}
    clean.provision("apply", name)
    clean.verified(name)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_destroy_names_a_stopped_docker(clean: Hosts) -> None:
    """It would leave the containers, and says so instead of `confirmed`; no host is changed."""
    name, before = clean.inventory("routes.yml"), clean.capture()
    clean.provision("apply", name)
    clean.ssh("h2", "systemctl stop docker.socket docker")
    try:
        result = clean.json("destroy", name, "--yes", status=4)
    finally:
        clean.ssh("h2", "systemctl start docker")
    assert [error["host"] for error in result["errors"]] == ["h2"]
    assert "dockerd does not answer" in result["errors"][0]["message"]
    assert set(result["hosts"].values()) == {"unchanged"}
    clean.verified(name)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_a_docker_without_a_default_bridge_or_none_at_all(clean: Hosts) -> None:
    """An inventory that was applied earlier is compared, verified and destroyed."""
    name, before = clean.inventory("routes.yml"), clean.capture()
    clean.provision("apply", name)
    clean.ssh("h1", NO_BRIDGE)
    try:
        clean.verified(name)
        assert clean.json("plan", name)["changes"] == []
        docker0 = clean.inventory("routes-docker0.yml")
        for verb in ("plan", "apply", "verify", "show", "graph", "status"):
            clean.provision(verb, docker0, status=None)
        clean.ssh("h2", "systemctl stop docker.socket docker")
        text = clean.provision("verify", name, status=None)
        assert "create" not in text and "Docker" in text, text
        clean.ssh("h2", "systemctl start docker")
        clean.verified(name)
        clean.provision("destroy", name, "--yes")
    finally:
        clean.ssh("h2", "systemctl start docker")
        clean.ssh("h1", DOCKER_AGAIN)
    assert_same(before, clean.capture())

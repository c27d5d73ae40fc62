"""The MAC address of a container that Docker 25 and newer forget when it leaves its network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.resources.base import Origin
from provision.resources.kinds.container import DockerContainer
from provision.resources.on_hosts import Mark
from provision.resources.steps import Run, Unless
from tests.probes.test_captured import FOLDER, INVENTORIES
from tests.unit.test_docker_objects import container, lines
from tests.unit.test_host_programs import sh

MAC, OTHER = "02:42:ac:14:00:09", "02:42:ac:14:00:0a"
CAPTURE = (FOLDER / "container" / "modes-trixie.txt").read_text()
ADDRESS = IPv4Address("172.20.0.9")
WANTED = DockerContainer("h1", "net1", "a", (), "blue", ADDRESS, "no", Mark("demo", "blue"))


def net1(text: str) -> DockerContainer:
    """The container of the capture that has a MAC address in the inventory."""
    found = DockerContainer.parse(text, Origin("host", INVENTORIES["modes"]))
    (resource,) = (e.resource for e in found if e.ours and e.resource.name == "net1")
    assert isinstance(resource, DockerContainer)
    return resource


def with_endpoint(mac: str, *, status: str = "running") -> str:
    """The capture, in which the end of this container in its network has another MAC address."""
    ours = (line for line in CAPTURE.splitlines() if line.startswith("container "))
    (line,) = (line for line in ours if '"provision.mac"' in line)
    head, networks, tail = line.partition('"Networks":')
    changed = head.replace('"Status":"running"', f'"Status":"{status}"') + networks
    changed += tail.replace(f'"MacAddress":"{MAC}"', f'"MacAddress":"{mac}"')
    assert changed != line or (mac, status) == (MAC, "running")
    return CAPTURE.replace(line, changed)


@pytest.mark.parametrize(
    ("mac", "status", "found"),
    [
        (MAC, "running", MAC),
        (MAC.upper(), "running", MAC),
        (OTHER, "running", OTHER),
        (OTHER, "paused", OTHER),
        ("", "restarting", MAC),
        ("", "exited", MAC),
    ],
)
def test_a_running_container_has_the_mac_of_its_end(mac: str, status: str, found: str) -> None:
    """Docker tells nothing of a stopped one but what it was made with."""
    wanted = net1(CAPTURE)
    resource = net1(with_endpoint(mac, status=status))
    assert (wanted.mac, resource.mac) == (MAC, found)
    assert (wanted.update(resource) is None) == (found != MAC)


@pytest.mark.parametrize(("mac", "told"), [(MAC, "has"), (MAC.upper(), "has"), (OTHER, "lacks")])
def test_the_guard_compares_whether_a_container_has_its_mac(mac: str, told: str) -> None:
    """Another one may be chosen anew at each start, so the guard only knows that it is another."""
    one = container(**{"provision": "demo/blue", "provision.mac": MAC})
    one["NetworkSettings"]["Networks"]["blue"]["MacAddress"] = mac
    assert f'container "/c1" {told} {MAC}' in lines(one).stdout.splitlines()
    one["NetworkSettings"]["Networks"]["blue"]["MacAddress"] = ""
    assert MAC not in lines(one).stdout.replace(f'"provision.mac":"{MAC}"', "")


DOCKER = """#!/bin/sh
case $* in
ps*) echo '0b2 net1.provision-7' ;;
'network ls'*) echo '5e7 blue' ;;
*NetworkID*) echo 1d0 ;;
inspect*) echo demo/blue ;;
start*) [ -e "$FOLDER/connected" ] || exit 1 ;;
'network connect'*) echo "$*" >"$FOLDER/connected" ;;
esac
"""
PERL = """#!/bin/sh
shift 2
echo "$*" >"$FOLDER/connected"
"""


@pytest.mark.parametrize(
    ("before", "connected"),
    [
        (replace(WANTED, mac=MAC), f"blue 0b2 172.20.0.9 {MAC}"),
        (replace(WANTED, mac=MAC, address=None), f"blue 0b2 - {MAC}"),
        (WANTED, "network connect --ip 172.20.0.9 blue 0b2"),
        (replace(WANTED, address=None), "network connect blue 0b2"),
    ],
)
def test_a_rollback_gives_a_container_its_mac_on_a_network_made_anew(
    tmp_path: Path, before: DockerContainer, connected: str
) -> None:
    """`docker network connect` has no option for it."""
    for name, text in (("docker", DOCKER), ("perl", PERL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (step,) = before.unstash("7")
    assert isinstance(step, Unless) and isinstance(step.test, Run)
    process = sh(step.test.argv[2], tmp_path, *step.test.argv[4:])
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "connected").read_text() == f"{connected}\n"

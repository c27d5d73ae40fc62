"""Hosts with a kernel of their own: the lab itself, and methods that need such a kernel."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from provision.lab import power, supervisor
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import nics

pytestmark = [pytest.mark.lab, pytest.mark.kernel, pytest.mark.full, pytest.mark.timeout(3600)]

SLOW = ("--confirm-window", "400", "--timeout", "1000")
"""A login and a script take several times as long as on a host that shares the kernel."""
MACVLAN = """
name: tagged
hosts: {h1: {address: LAN.11}, h2: {address: LAN.12}}
networks: {}
containers:
  green1:
    host: h1
    network: none
    interfaces: [{macvlan: eth1, vlan: 30, address: 192.168.30.1/24}]
  green2:
    host: h2
    network: none
    interfaces: [{macvlan: eth1, vlan: 30, address: 192.168.30.2/24}]
"""


@pytest.fixture
def uml(booted: Boot) -> Hosts:
    """Three hosts of trixie, each with a kernel of its own."""
    return booted("trixie", kernel="uml")


def tagged_frames(hosts: Hosts, container: str, address: str) -> str:
    """Frames with a VLAN tag on h2's NIC while a container of h1 pings an address."""
    hosts.ssh("h1", f"docker exec -d {container} ping -c 120 {address}")
    return hosts.ssh("h2", "timeout 100 tcpdump -eni eth1 -c 2 vlan 2>&1", check=False)


def test_root_of_a_guest_is_not_root_of_this_machine(uml: Hosts) -> None:
    """The process has another user, and by hostfs a guest sees only programs and its own disks."""
    process = supervisor.running(uml.lab).machines["h1"]
    assert Path(f"/proc/{process}").stat().st_uid >= 1_900_000_000
    uml.ssh("h1", "mkdir -p /run/outside && mount -t hostfs none /run/outside")
    names = set(uml.ssh("h1", "ls /run/outside").split())
    assert {"base", "disk", "usr"} <= names and not names & {"etc", "root", "home", "var", "work"}
    denied = "cd /run/outside; touch usr/x base linux x 2>&1; umount /run/outside 2>/dev/null"
    assert uml.ssh("h1", denied, check=False).count("touch: ") == 4
    assert uml.ssh("h1", "uname -r") != os.uname().release


def test_a_killed_guest_stays_off_and_leaves_no_process(uml: Hosts) -> None:
    """Whether its kernel is killed or its supervisor: no process of it runs on."""
    for number, victim in enumerate(("machines", "watchers")):
        running = supervisor.running(uml.lab)
        victims = [running.machines["h3"]] if victim == "machines" else running.watchers["h3"]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "h3" in supervisor.running(uml.lab).machines:
            assert time.monotonic() < deadline, (number, victim)
            time.sleep(0.2)
        assert power.states(uml.lab) == {"h1": "up", "h2": "up", "h3": "off"}
        power.start(uml.lab, say=print)
    assert uml.ssh("h3", "docker run --rm busybox echo works") == "works\n"


def test_vlans_on_a_linux_bridge(uml: Hosts) -> None:
    """Frames leave tagged, VLANs are apart, also after a reboot; destroy restores the hosts."""
    inventory = uml.inventory("pipework-vlan.yml", ("kind: ovs, bridge: ovsbr0", "kind: linux"))
    before, nics_before = uml.capture(), nics(uml)
    uml.provision("apply", inventory, *SLOW)
    result = uml.verified(inventory, within_s=300)
    assert "apart" in {check["check"] for check in result["checks"]}
    assert uml.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    assert "vlan 10" in tagged_frames(uml, "red1", "192.168.10.2")
    power.reboot(uml.lab, ("h1", "h2"), say=print)
    uml.verified(inventory, within_s=300)
    uml.provision("destroy", inventory, "--yes", *SLOW)
    assert_same(before, uml.capture())
    assert_same(nics_before, nics(uml))


def test_a_vlan_on_a_macvlan(uml: Hosts) -> None:
    """The interface is on a VLAN device of the NIC, and destroy removes both."""
    path = uml.lab.folder / "macvlan-vlan.yml"
    path.write_text(MACVLAN.replace("LAN", uml.networks[1]))
    before, nics_before = uml.capture(), nics(uml)
    uml.provision("apply", path.name, *SLOW)
    uml.verified(path.name, within_s=300)
    assert uml.json("apply", path.name)["changes"] == []
    assert "vlan 30" in tagged_frames(uml, "green1", "192.168.30.2")
    uml.provision("destroy", path.name, "--yes", *SLOW)
    assert_same(before, uml.capture())
    assert_same(nics_before, nics(uml))

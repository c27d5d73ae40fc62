"""Hosts with a kernel of their own: the lab itself, and methods that need such a kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import power, supervisor
from tests.lab import all_methods
from tests.lab.conftest import Boot
from tests.lab.explain_faults import Fault, Planter, assert_nothing_watches
from tests.lab.hosts import Hosts, assert_same, without_records
from tests.lab.own_kernels import SLOW, clear, without_module_devices
from tests.lab.pipework import nics, without_ovs_files

pytestmark = [pytest.mark.lab, pytest.mark.kernel, pytest.mark.full, pytest.mark.timeout(3600)]

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


def _drop(name: str, host: str, rule: str, pair: str) -> Fault:
    """A rule of iptables-legacy that drops the tunnel's packets, which the kernel sends itself."""
    insert, remove = (f"iptables -{action} {rule} -j DROP" for action in "ID")
    source, target = pair.split()
    cause = {"host": host, "kind": "firewall_rule", "object": f"-A {rule}"}
    fix = f"iptables-legacy -t filter -D {rule}"
    return Fault(name, "ovs-gre.yml", source, target, {host: insert}, {host: remove}, cause, fix)


TUNNEL_FAULTS = (
    _drop("gre-input", "h2", "INPUT -p 47", "g1 g2"),
    _drop("gre-output", "h1", "OUTPUT -p 47", "g1 g2"),
    _drop("vxlan-input", "h2", "INPUT -p udp -m udp --dport 4789", "v1 v2"),
)


@pytest.fixture
def uml(booted: Boot) -> Iterator[Hosts]:
    """Two hosts of trixie, each with a kernel of its own; nothing stays applied on them."""
    hosts = booted("trixie", kernel="uml", count=2)
    yield hosts
    clear(hosts)


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
    # Not `touch`: hostfs passes over a new time that is the present one.
    write = "cd /run/outside; for f in usr/x base linux x; do (printf x >>$f) && echo $f; done 2>&1"
    denied = uml.ssh("h1", write, check=False).splitlines()
    assert len(denied) == 4 and all("Permission denied" in line for line in denied), denied
    uml.ssh("h1", "umount /run/outside")
    assert uml.ssh("h1", "uname -r") != os.uname().release


def test_a_killed_guest_stays_off_and_leaves_no_process(uml: Hosts) -> None:
    """Whether its kernel is killed or its supervisor: no process of it runs on."""
    for number, victim in enumerate(("machines", "watchers")):
        running = supervisor.running(uml.lab)
        victims = [running.machines["h2"]] if victim == "machines" else running.watchers["h2"]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while "h2" in supervisor.running(uml.lab).machines:
            assert time.monotonic() < deadline, (number, victim)
            time.sleep(0.2)
        assert power.states(uml.lab) == {"h1": "up", "h2": "off"}
        power.start(uml.lab, say=print)
    assert uml.ssh("h2", "docker run --rm busybox echo works") == "works\n"


def test_vlans_on_a_linux_bridge(uml: Hosts) -> None:
    """Frames leave tagged, VLANs are apart, also after a reboot; destroy restores the hosts."""
    inventory = uml.inventory("pipework-vlan.yml", ("kind: ovs, bridge: ovsbr0", "kind: linux"))
    before, nics_before = uml.capture(), nics(uml)
    uml.provision("apply", inventory, *SLOW)
    result = uml.verified(inventory, within_s=300)
    assert "apart" in {check["check"] for check in result["checks"]}
    assert uml.executions("apply", inventory) == dict.fromkeys(uml.names, 1)
    assert "vlan 10" in tagged_frames(uml, "red1", "192.168.10.2")
    power.reboot(uml.lab, ("h1", "h2"), say=print)
    uml.verified(inventory, within_s=300)
    uml.provision("destroy", inventory, "--yes", *SLOW)
    assert_same(before, uml.capture())
    assert_same(nics_before, nics(uml))


def test_a_vlan_on_a_macvlan(uml: Hosts) -> None:
    """The interface is on a VLAN device of the NIC, also after a boot; destroy removes both."""
    path = uml.lab.folder / "macvlan-vlan.yml"
    path.write_text(MACVLAN.replace("LAN", uml.networks[1]))
    before, nics_before = uml.capture(), nics(uml)
    uml.provision("apply", path.name, *SLOW)
    uml.verified(path.name, within_s=300)
    assert uml.json("apply", path.name)["changes"] == []
    assert "vlan 30" in tagged_frames(uml, "green1", "192.168.30.2")
    power.reboot(uml.lab, ("h1", "h2"), say=print)
    uml.verified(path.name, within_s=300)
    assert uml.executions("apply", path.name) == dict.fromkeys(uml.names, 1)
    uml.provision("destroy", path.name, "--yes", *SLOW)
    assert_same(before, uml.capture())
    assert_same(nics_before, nics(uml))


def test_the_kernel_datapath_of_open_vswitch(uml: Hosts) -> None:
    """With GRE and VXLAN: the NIC keeps its addresses, and the next boot loads the module."""
    inventory = all_methods.inventory(uml, ("ovs-gre.yml", "ovs-vxlan.yml"))
    before, addresses = uml.capture(), uml.everywhere("ip -o -4 address show dev eth1")
    uml.provision("apply", inventory, *SLOW)
    uml.verified(inventory, within_s=300)
    datapaths = uml.everywhere(
        "ovs-vsctl --columns=datapath_type --bare list bridge; ovs-dpctl show"
    )
    assert all("system@ovs-system" in text and "netdev" not in text for text in datapaths.values())
    assert uml.everywhere("ip -o -4 address show dev eth1") == addresses
    assert_tunnels_explained(uml, inventory)
    power.reboot(uml.lab, ("h2",), say=print)
    uml.verified(inventory, within_s=300)
    assert uml.executions("apply", inventory) == dict.fromkeys(uml.names, 1)
    uml.provision("destroy", inventory, "--yes", *SLOW)
    assert_same(*map(without_module_devices, map(without_ovs_files, (before, uml.capture()))))


def assert_tunnels_explained(hosts: Hosts, inventory: str) -> None:
    """Healthy pairs are reached without a cause; a rule that drops the tunnel is named."""
    for pair in ("g1 g2", "g2 g1", "v1 v2"):
        answer = hosts.json("explain", inventory, *pair.split())
        assert answer["reached"] and answer["cause"] is None, answer
        assert all(hop["seen"] for hop in answer["hops"]), answer["hops"]
    planter = Planter.on(hosts)
    for fault in TUNNEL_FAULTS:
        answer = planter.explained(fault)
        assert not planter.mistakes(fault, answer), (fault.name, answer)
    assert_nothing_watches(hosts)


def test_a_power_cut_in_the_midst_of_an_apply(uml: Hosts) -> None:
    """With its page cache lost, the host is as before, can be reached, and can be changed."""
    inventory, before = uml.inventory("routes.yml"), uml.capture()
    program = Path(sys.executable).with_name("provision")
    argv = (str(program), "apply", inventory, *SLOW)
    with subprocess.Popen(argv, cwd=uml.lab.folder, env=uml.environment) as process:
        begun = "until ls /etc/provision/demo >/dev/null 2>&1; do sleep 0.1; done"
        uml.ssh("h1", f"timeout 600 sh -c '{begun}'")
        power.cut_power(uml.lab, "h1")
        power.start(uml.lab, say=print)
        assert process.wait(timeout=1200) != 0
    uml.provision("recover", inventory, status=None)
    deadline = time.monotonic() + 600
    while any("/etc/provision/demo" in text for text in uml.capture().values()):
        assert time.monotonic() < deadline, uml.json("status", inventory, status=None)
        time.sleep(2)
    # A boot unloads the modules that a test before this one has loaded, with their devices.
    assert_same(
        *(without_module_devices(without_records(each)) for each in (before, uml.capture()))
    )
    uml.provision("apply", inventory, *SLOW)
    uml.verified(inventory, within_s=300)
    uml.provision("destroy", inventory, "--yes", *SLOW)

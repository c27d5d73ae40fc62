"""Method `pipework` on booted hosts with Open vSwitch: VLANs, and bridges of other owners."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import FOLLOW_S, clean, failing_checks, nics, without_ovs_files

pytestmark = pytest.mark.lab
__all__ = ["clean"]


def captured_frames(hosts: Hosts) -> str:
    """Frames on h2's NIC while red1 pings red2, captured by tcpdump and not by Open vSwitch."""
    sniff = "timeout 10 tcpdump -eni eth1 -c 2 vlan 2>&1"
    with ThreadPoolExecutor() as pool:
        frames = pool.submit(hosts.ssh, "h2", sniff, check=False)
        hosts.ssh("h1", "sleep 1; docker exec red1 ping -c 3 192.168.10.2")
        return frames.result()


def test_vlans_from_apply_to_destroy(clean: Hosts) -> None:
    """VLANs are separate; Open vSwitch did not run before and does not run afterwards."""
    inventory = clean.inventory("pipework-vlan.yml")
    before, nics_before = clean.capture(), nics(clean)
    clean.provision("apply", inventory)
    assert "apart" in {check["check"] for check in clean.verified(inventory)["checks"]}
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    assert "vlan 10" in captured_frames(clean)
    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory)
    # At boot, Open vSwitch may set its device down again after systemd-networkd has set it up.
    clean.everywhere("ip link set ovsbr0 down")
    clean.verified(inventory)
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    clean.verified(inventory, within_s=FOLLOW_S)
    # A port that lost its tag receives the frames of the other VLAN.
    clean.ssh("h1", "ovs-vsctl clear port $(ovs-vsctl list-ports ovsbr0 | grep pw-red1) tag")
    failing = failing_checks(clean, inventory)
    assert ("apart", "red1/eth1", "plain2/eth1") in failing
    assert ("drift", "h1", "h1") in failing
    clean.provision("apply", inventory)
    clean.verified(inventory)
    # A port without its mark is ours still.
    port = "$(ovs-vsctl list-ports ovsbr0 | grep pw-red2)"
    clean.ssh("h2", f"ovs-vsctl remove port {port} external_ids provision")
    clean.provision("destroy", inventory, "--yes")
    assert_same(without_ovs_files(before), without_ovs_files(clean.capture()))
    assert_same(nics_before, nics(clean))


@pytest.mark.full
def test_an_open_vswitch_that_ran_before_keeps_running(clean: Hosts) -> None:
    """Its service and the bridges of others stay; apply refuses to take such a bridge."""
    start = "systemctl -q unmask openvswitch-switch; systemctl -q enable --now openvswitch-switch"
    clean.everywhere(
        start + " 2>&1; ovs-vsctl add-br other -- set bridge other datapath_type=netdev"
    )
    try:
        foreign = clean.inventory("pipework-ovs.yml", ("bridge: ovsbr0", "bridge: other"))
        errors = clean.json("apply", foreign, status=None)["errors"]
        conflict = "lan_bridge_ovs other exists outside this inventory"
        assert any(conflict in error["message"] for error in errors), errors
        inventory = clean.inventory("pipework-ovs.yml")
        clean.provision("apply", inventory)
        clean.verified(inventory)
        clean.everywhere("systemctl restart openvswitch-switch")
        clean.verified(inventory)
        clean.provision("destroy", inventory, "--yes")
        assert set(clean.everywhere("ovs-vsctl list-br").values()) == {"other\n"}
    finally:
        clean.everywhere(
            "ovs-vsctl del-br other; systemctl -q disable --now openvswitch-switch 2>&1"
        )
        clean.everywhere(
            "rm -f /var/lib/openvswitch/* /etc/openvswitch/system-id.conf", check=False
        )
        clean.everywhere("systemctl -q mask openvswitch-switch", check=False)

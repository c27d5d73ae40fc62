"""Open vSwitch's own datapath on the NIC that carries SSH: refused, rolled back, or SSH stays.

The lab's NICs are veths. Packets from their far ends have no checksums yet, and Open vSwitch's
datapath does not compute them, so TCP fails after the move, unless the far ends compute them.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provision.lab import namespace
from tests.lab.faults import QUICK, injecting
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.test_overlays import clean, verified

pytestmark = pytest.mark.lab
__all__ = ["clean"]

NIC = r"""
ip -o address show scope global | awk '$2 ~ /host0/ {print $3, $4}'
ip route | grep host0 | sed 's/dev [a-z-]*host0/dev NIC/;s/ linkdown//' | sort
"""
"""Addresses and routes of the NIC, on whichever device they are."""


def over_management(hosts: Hosts, *changes: tuple[str, str]) -> str:
    """Write ovs-gre.yml for the NICs that carry SSH into the lab's folder; its file name."""
    management, data = hosts.networks
    text = (hosts.lab.folder / hosts.inventory("ovs-gre.yml", *changes)).read_text()
    (hosts.lab.folder / "management.yml").write_text(text.replace(f"{data}.", f"{management}."))
    return "management.yml"


REVERTED = re.compile(r"reverted \(\w+\)")
FORCED = ("# datapath: netdev ", "datapath: netdev #")


@contextmanager
def computed_checksums(hosts: Hosts) -> Iterator[None]:
    """The far ends of the NICs that carry SSH compute checksums meanwhile."""
    for offload in ("off", "on"):
        for host in HOSTS:
            lab_host = hosts.lab.host(host)
            # ethtool of the host, because this machine may have none.
            prefix = (
                "nsenter",
                f"--net={namespace.path(hosts.lab)}",
                "chroot",
                str(lab_host.merged),
            )
            tool = ("ethtool", "-K", f"vb-{lab_host.machine}", "tx", offload)
            subprocess.run((*prefix, *tool), check=True, stdout=subprocess.DEVNULL)
        if offload == "off":
            yield


def test_a_veth_that_carries_ssh_is_refused(clean: Hosts) -> None:
    """Plan and apply report a conflict on each host, and change none."""
    before = clean.capture()
    name = over_management(clean)
    conflicts = clean.json("plan", name, status=9)["conflicts"]
    assert {conflict["host"] for conflict in conflicts} == set(HOSTS)
    reason = "host0 is a veth that may carry SSH"
    assert all(reason in conflict["found"] for conflict in conflicts), conflicts
    clean.provision("apply", name, status=9)
    assert_same(before, clean.capture())


@pytest.mark.full
def test_hosts_that_lose_ssh_with_the_nic_roll_back(clean: Hosts) -> None:
    """`datapath: netdev` overrides the refusal. TCP fails, and each host rolls back by itself."""
    with injecting(clean) as faults:
        name = over_management(clean, FORCED)
        begin = time.monotonic()
        result = clean.json("apply", name, *QUICK, status=None)
        print(f"apply and rollback: {time.monotonic() - begin:.0f} s", result["hosts"])
        assert all(map(REVERTED.fullmatch, result["hosts"].values())), result
        faults.assert_restored()


@pytest.mark.full
def test_ssh_stays_if_the_far_ends_compute_checksums(clean: Hosts) -> None:
    """The NIC's addresses and routes move with it, and an open SSH session lives on."""
    before, name = clean.capture(), over_management(clean, FORCED)
    with computed_checksums(clean):
        addresses = clean.everywhere(NIC)
        plan = clean.json("plan", name)["changes"]
        uplinks = [change for change in plan if change["kind"] == "ovs_uplink"]
        assert len(uplinks) == 3
        assert all("path of SSH" in change["disruption"] for change in uplinks)
        session = subprocess.Popen(
            ("ssh", "-F", str(clean.lab.ssh_config), "h1", "cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        result = clean.json("apply", name)
        assert set(result["hosts"].values()) == {"confirmed"}
        verified(clean, name)
        assert "phy-host0" in clean.ssh("h1", f"ip route get {clean.networks[0]}.254")
        assert clean.everywhere(NIC) == addresses
        clean.provision("destroy", name, "--yes")
        output, _ = session.communicate("still here", timeout=20)
        assert output == "still here"
        assert_same(before, clean.capture())

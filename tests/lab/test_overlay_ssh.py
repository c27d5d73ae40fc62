"""Open vSwitch's own datapath on the NIC that SSH comes by: refused, undone, or the SSH stays.

The lab's NICs are veths, from whose far ends packets come with open checksums: TCP dies with the
move, as long as nobody has those ends compute them.
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
    """ovs-gre.yml between the NICs by which SSH comes in, in the lab's folder."""
    management, data = hosts.networks
    text = (hosts.lab.folder / hosts.inventory("ovs-gre.yml", *changes)).read_text()
    (hosts.lab.folder / "management.yml").write_text(text.replace(f"{data}.", f"{management}."))
    return "management.yml"


REVERTED = re.compile(r"reverted \(\w+\)")
INSISTED = ("# datapath: netdev ", "datapath: netdev #")


@contextmanager
def computed(hosts: Hosts) -> Iterator[None]:
    """Meanwhile, what reaches the NICs for SSH has its checksums computed."""
    for word in ("off", "on"):
        for host in HOSTS:
            lab_host = hosts.lab.host(host)
            # With the host's own ethtool: the machine may have none.
            within = (
                "nsenter",
                f"--net={namespace.path(hosts.lab)}",
                "chroot",
                str(lab_host.merged),
            )
            tool = ("ethtool", "-K", f"vb-{lab_host.machine}", "tx", word)
            subprocess.run((*within, *tool), check=True, stdout=subprocess.DEVNULL)
        if word == "off":
            yield


def test_such_a_nic_is_refused(clean: Hosts) -> None:
    """Before any host is touched; the words say what to do."""
    before = clean.capture()
    name = over_management(clean)
    said = clean.json("plan", name, status=9)["conflicts"]
    assert {one["host"] for one in said} == set(HOSTS)
    assert all("host0 is a veth that may carry SSH" in one["found"] for one in said), said
    clean.provision("apply", name, status=9)
    assert_same(before, clean.capture())


@pytest.mark.full
def test_a_nic_that_takes_ssh_with_it_comes_back(clean: Hosts) -> None:
    """Who insists loses TCP, and each host takes the change back alone: none is locked out."""
    with injecting(clean) as faults:
        name = over_management(clean, INSISTED)
        begin = time.monotonic()
        done = clean.json("apply", name, *QUICK, status=None)
        print(f"apply and its undo: {time.monotonic() - begin:.0f} s", done["hosts"])
        assert all(map(REVERTED.fullmatch, done["hosts"].values())), done
        faults.assert_restored()


@pytest.mark.full
def test_such_a_nic_moves_and_ssh_stays(clean: Hosts) -> None:
    """With whole checksums: addresses, routes, and a session that was open all the time."""
    before, name = clean.capture(), over_management(clean, INSISTED)
    with computed(clean):
        held = clean.everywhere(NIC)
        plan = clean.json("plan", name)["changes"]
        moved = [one for one in plan if one["kind"] == "ovs_uplink"]
        assert len(moved) == 3 and all("path of SSH" in one["disruption"] for one in moved)
        session = subprocess.Popen(
            ("ssh", "-F", str(clean.lab.ssh_config), "h1", "cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        done = clean.json("apply", name)
        assert set(done["hosts"].values()) == {"confirmed"}
        verified(clean, name)
        assert "phy-host0" in clean.ssh("h1", f"ip route get {clean.networks[0]}.254")
        assert clean.everywhere(NIC) == held
        clean.provision("destroy", name, "--yes")
        said, _ = session.communicate("still here", timeout=20)
        assert said == "still here"
        assert_same(before, clean.capture())

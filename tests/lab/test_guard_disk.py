"""Hosts whose disk is full or read-only when a change is made, confirmed or rolled back."""

from __future__ import annotations

import re
import time

import pytest

from tests.lab.crash import STEPS
from tests.lab.faults import KILL_ACT, Faults

pytestmark = pytest.mark.lab
SMALL_DISK = (
    "mkdir -p /var/lib/provision; mount -t tmpfs -o size=300k,mode=700 none /var/lib/provision"
)
FILL_DISK = "dd if=/dev/zero of=/var/lib/provision/fill bs=1k 2>/dev/null"


def test_a_full_disk_refuses_the_change(faults: Faults, inventory: str) -> None:
    """A host without space for the record of a change stops the change on all hosts."""
    faults.hosts.ssh("h2", f"{SMALL_DISK}; {FILL_DISK}; :")
    result = faults.hosts.json("apply", inventory, status=4)
    assert "no room" in str(result["errors"]) or "cannot be written" in str(result["errors"])
    faults.hosts.ssh("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    faults.assert_restored()


@pytest.mark.full
def test_a_program_that_does_not_fit_leaves_nothing(faults: Faults) -> None:
    """flanneld has 54 MB, and comes in a later part of the change, when the host is armed."""
    inventory = faults.hosts.inventory("flannel-vxlan.yml")
    faults.hosts.ssh("h2", SMALL_DISK.replace("300k", "2m"))
    result = faults.hosts.json("apply", inventory, status=None)
    assert "could not be copied" in str(result["errors"]), result["errors"]
    assert set(result["hosts"].values()) == {"reverted (failed)"}, result["hosts"]
    left = faults.inside("h2", "ls -A /var/lib/provision").split()
    assert [name for name in left if not name.startswith(("guard-", "reverted."))] == []
    faults.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    faults.assert_restored()


@pytest.mark.full
def test_a_confirmation_needs_no_disk_space(faults: Faults, inventory: str) -> None:
    """A host confirms by renaming a folder, which also works on a full disk."""
    faults.hosts.ssh("h2", SMALL_DISK)
    faults.hosts.provision("apply", inventory, "--manual")
    faults.hosts.ssh("h2", f"{FILL_DISK}; :")
    assert faults.hosts.provision("confirm", inventory).count("confirmed") == 3
    faults.inside("h2", "rm -f /var/lib/provision/fill")
    faults.hosts.provision("destroy", inventory, "--yes")
    faults.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    faults.assert_restored()


@pytest.mark.full
def test_a_rollback_needs_no_disk_space(faults: Faults, inventory: str) -> None:
    """The host reserved the space for its rollback before the change."""
    faults.hosts.ssh("h2", SMALL_DISK)
    faults.at_step("h2", STEPS["routes.yml"], f"{FILL_DISK}; {KILL_ACT}")
    result = faults.hosts.json("apply", inventory, status=None)
    assert set(result["hosts"].values()) == {"reverted (failed)"}, result["hosts"]
    faults.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    faults.heal()
    faults.assert_restored()


def test_a_confirmation_that_cannot_be_recorded_does_not_count(
    faults: Faults, inventory: str
) -> None:
    """The host stays pending, and rolls back once at its deadline."""
    faults.hosts.ssh("h2", SMALL_DISK)
    faults.hosts.provision("apply", inventory, "--manual", "--confirm-window", "15")
    faults.hosts.ssh("h2", "mount -o remount,ro /var/lib/provision")
    states = faults.hosts.json("confirm", inventory, status=None)["hosts"]
    assert (states["h1"], states["h3"]) == ("confirmed", "confirmed")
    assert re.fullmatch(r"pending until \d\d:\d\d:\d\d", states["h2"])
    begin = time.monotonic()
    while "PROV-" in faults.hosts.ssh("h2", "iptables-save"):
        assert time.monotonic() - begin < 30
        time.sleep(0.5)
    faults.inside("h2", "mount -o remount,rw /var/lib/provision")
    faults.hosts.provision("recover", inventory)
    assert re.fullmatch(r"reverted \(\w+\)", faults.states(inventory)["h2"])
    faults.inside("h2", "umount /var/lib/provision; rmdir /var/lib/provision")
    faults.assert_nothing_left()
    faults.assert_converges(inventory)

"""Hosts that restart or lose power while a change is pending or rolled back."""

from __future__ import annotations

import time

import pytest

from provision.lab import power
from tests.lab.faults import Faults, reverted

pytestmark = pytest.mark.lab


def test_hosts_that_restart_before_the_confirmation_roll_back(
    faults: Faults, inventory: str
) -> None:
    """A rebooted host and one without power come back as before; recover restores the others."""
    faults.hosts.provision("apply", inventory, "--manual", "--confirm-window", "600")
    begin = time.monotonic()
    power.reboot(faults.hosts.lab, ("h2",), say=print)
    power.cut_power(faults.hosts.lab, "h3")
    power.start(faults.hosts.lab, say=print)
    faults.until(inventory, lambda states: states["h2"] == states["h3"] == "reverted (boot)", 40)
    assert time.monotonic() - begin < 60
    faults.hosts.provision("confirm", inventory, status=2)
    faults.hosts.provision("recover", inventory)
    faults.assert_restored()
    faults.assert_converges(inventory)


def test_the_next_boot_completes_an_interrupted_rollback(faults: Faults, inventory: str) -> None:
    """A host that loses power while it rolls back is as before after the next boot."""
    faults.hosts.provision("apply", inventory, "--manual", "--confirm-window", "15")
    folder = faults.path("h1", "var/lib/provision")
    while not list(folder.glob("reverting.*")):
        time.sleep(0.01)
    power.cut_power(faults.hosts.lab, "h1")
    power.start(faults.hosts.lab, say=print)
    faults.until(inventory, reverted, 40)
    faults.assert_restored()


def test_a_boot_gives_back_what_a_stopped_follower_would(faults: Faults, inventory: str) -> None:
    """A boot takes chains away, and somebody has stopped the follower before the change."""
    faults.hosts.provision("apply", inventory)
    chains = "iptables-save | grep PROV- | sed 's/ \\[.*//' | sort"
    faults.hosts.ssh("h1", "systemctl stop provision-demo-follow.service")
    before = faults.hosts.ssh("h1", chains)
    run = faults.start("destroy", inventory, "--yes")
    journal = faults.path("h1", "var/lib/provision/txn/journal")
    while not journal.exists() or len(journal.read_text().splitlines()) < 2:
        assert run.poll() is None
        time.sleep(0.001)
    power.cut_power(faults.hosts.lab, "h1")
    power.start(faults.hosts.lab, say=print)
    run.communicate()
    faults.until(inventory, reverted, 200)
    active = faults.hosts.ssh("h1", "systemctl is-active provision-demo-follow", check=False)
    assert active == "inactive\n"
    assert before and faults.hosts.ssh("h1", chains) == before
    changes = faults.hosts.json("plan", inventory)["changes"]
    assert {change["kind"] for change in changes} == {"systemd_unit"}, changes
    faults.hosts.provision("apply", inventory)
    assert faults.hosts.json("plan", inventory)["changes"] == []
    faults.hosts.provision("destroy", inventory, "--yes")
    faults.assert_restored()

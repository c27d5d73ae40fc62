"""Hosts that the controller cannot reach, before, during and after a change."""

from __future__ import annotations

import time

import pytest

from tests.lab.faults import QUICK, Faults, heal_in, lockout_inventory, reverted, routed_controller

pytestmark = pytest.mark.lab
DROP_PORT_22 = "iptables -I INPUT -p tcp --dport 22 -m comment --comment fault"
DROP_LARGE_PACKETS = (
    "iptables -I INPUT -m comment --comment fault -m length --length 1200:65535 -j DROP"
)


def test_an_unreachable_host_stops_the_change_on_all(faults: Faults, inventory: str) -> None:
    """Apply exits with 4 within 20 s and changes no host."""
    faults.hosts.ssh("h2", heal_in(25, f"{DROP_PORT_22} -j DROP"))
    begin = time.monotonic()
    result = faults.hosts.json("apply", inventory, status=4)
    assert time.monotonic() - begin < 20
    assert result["hosts"] == {"h1": "unchanged", "h2": "unreachable", "h3": "unchanged"}
    faults.heal()
    faults.assert_restored()


@pytest.mark.parametrize(
    "cuts",
    [
        # The link goes down; the host receives no SSH packet any more.
        {"h2": "ip link set host0 down", "h3": f"{DROP_PORT_22} -j DROP"},
        # Old connections live on and new ones fail; large packets are lost.
        {
            "h2": f"{DROP_PORT_22} -m conntrack --ctstate NEW -j DROP",
            "h3": DROP_LARGE_PACKETS,
        },
    ],
    ids=["link and port", "new connections and large packets"],
)
def test_hosts_that_are_cut_off_roll_back_alone(
    faults: Faults, inventory: str, cuts: dict[str, str]
) -> None:
    """The controller rolls the others back at once; the lost hosts roll back at their deadline."""
    for host, cut in cuts.items():
        faults.at_step(host, 6, heal_in(40, cut))
    result = faults.hosts.json("apply", inventory, *QUICK, status=None)
    assert result["hosts"]["h1"] == "reverted (failed)"
    for host in cuts:
        assert result["hosts"][host] in ("reverted (deadline)", "reverted (failed)"), result
    faults.heal()
    faults.assert_restored()
    faults.assert_converges(inventory)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(False, id="stays reachable", marks=pytest.mark.full),
        pytest.param(True, id="lost between the checks"),
    ],
)
def test_a_change_of_the_ssh_path_is_checked_twice(faults: Faults, cut: bool) -> None:
    """The controller checks again after 10 s; a host that it has lost by then rolls back."""
    with routed_controller(faults, pinned=True) as controller:
        inventory = lockout_inventory(faults.hosts, controller)
        run = faults.start("apply", inventory, "-v", *QUICK)
        assert run.stdout is not None
        lines = iter(run.stdout.readline, "")
        assert any("Waiting 10 s before checking h1, h2, h3 again" in line for line in lines)
        first_check = time.monotonic()
        if cut:
            faults.inside("h2", heal_in(30, f"{DROP_PORT_22} -j DROP"))
        output, _ = run.communicate(timeout=120)
        if cut:
            assert run.returncode in (5, 6), output
            faults.until(inventory, reverted, 60)
            faults.assert_restored()
        else:
            assert run.returncode == 0 and time.monotonic() - first_check > 9, output
        faults.hosts.provision("destroy", inventory, "--yes")
        faults.assert_restored()

"""Controllers that are killed, interrupted, late, or two at once."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.lab.faults import QUICK, Faults, reverted, until_checked
from tests.lab.hosts import HOSTS

pytestmark = pytest.mark.lab


def test_hosts_roll_back_when_the_controller_is_killed_before_it_confirms(
    faults: Faults, inventory: str
) -> None:
    """All hosts are as before soon after their deadlines, and any machine can ask them."""
    run = faults.start("apply", inventory, *QUICK)
    checked = [faults.path(host, "var/lib/provision/txn/looked") for host in HOSTS]
    while not any(path.exists() for path in checked) and run.poll() is None:
        time.sleep(0.001)
    run.kill()
    run.wait()
    assert any(not path.exists() or path.parent.exists() for path in checked)
    faults.until(inventory, reverted, 45)
    assert set(faults.states(inventory).values()) == {"reverted (deadline)"}
    faults.assert_restored()
    faults.assert_converges(inventory)


def test_a_killed_apply_can_be_repeated_at_once(faults: Faults, inventory: str) -> None:
    """The same controller waits for no deadline, and a step that is still running ends first."""
    faults.at_step("h2", 4, "sleep 3")
    run = faults.start("apply", inventory)
    while not faults.path("h2", "var/lib/provision/txn/journal").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    run.kill()
    run.wait()
    faults.assert_converges(inventory)


@pytest.mark.full
def test_each_host_reports_its_own_end_when_the_controller_is_killed_while_confirming(
    faults: Faults, inventory: str
) -> None:
    """A host has the change if it reports `confirmed`, and not if it reports `reverted`."""
    run = faults.start("apply", inventory, *QUICK)
    folders = [faults.path(host, "var/lib/provision") for host in HOSTS]
    while run.poll() is None and not any(
        list(folder.glob("confirmed.*")) for folder in folders if folder.exists()
    ):
        time.sleep(0.001)
    run.kill()
    run.wait()
    faults.until(
        inventory, lambda states: not any("pending" in state for state in states.values()), 60
    )
    states = faults.states(inventory)
    assert set(states.values()) <= {"confirmed", "reverted (deadline)"}
    for host, state in states.items():
        has_rules = "PROV-" in faults.hosts.ssh(host, "iptables-save")
        assert has_rules == (state == "confirmed"), (host, state)
    faults.assert_converges(inventory)


def test_ctrl_c_rolls_back_on_all_hosts_at_once(faults: Faults, inventory: str) -> None:
    """One Ctrl-C rolls every host back without waiting for the deadlines; apply exits with 130."""
    faults.at_step("h2", 4, "sleep 30")
    run = faults.start("apply", inventory)
    while not faults.inside("h2", "ls /run/fault/done 2>/dev/null"):
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=40)
    assert run.returncode == 130, output
    assert output.count("reverted (operator)") >= 3, output
    faults.heal()
    faults.assert_restored()


@pytest.mark.full
def test_ctrl_c_while_hosts_keep_a_destroy_reports_each_host_truly(
    faults: Faults, inventory: str
) -> None:
    """A host that has cleaned up is confirmed, not unchanged; the others roll back."""
    faults.hosts.provision("apply", inventory)
    run = faults.start("destroy", inventory, "--yes", "--json")
    until_checked(faults, run)
    pending = [faults.path(host, "var/lib/provision/txn") for host in HOSTS]
    while run.poll() is None and all(path.exists() for path in pending):
        time.sleep(0.001)
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    states = json.JSONDecoder().raw_decode(output[output.index("{") :])[0]["hosts"]
    for host, state in states.items():
        has_rules = "PROV-" in faults.hosts.ssh(host, "iptables-save")
        assert state == ("reverted (operator)" if has_rules else "confirmed"), states
    faults.hosts.provision("destroy", inventory, "--yes")
    faults.assert_restored()


@pytest.mark.full
def test_a_second_ctrl_c_leaves_the_rollback_to_the_hosts(faults: Faults, inventory: str) -> None:
    """Apply says so; at its deadline, a host kills a step that hangs, and rolls back."""
    faults.at_step("h2", 4, "sleep 1000")
    run = faults.start("apply", inventory, *QUICK)
    while not faults.inside("h2", "ls /run/fault/done 2>/dev/null"):
        time.sleep(0.1)
    for _ in range(2):
        run.send_signal(signal.SIGINT)
        time.sleep(0.3)
    output, _ = run.communicate(timeout=40)
    assert run.returncode == 130, output
    assert "Left to the hosts" in output or output.count("reverted (operator)") >= 3, output
    faults.until(inventory, reverted, 45)
    faults.heal()
    faults.assert_restored()


def test_one_of_two_controllers_proceeds(faults: Faults, inventory: str) -> None:
    """The other one exits with 8 and names the first."""
    runs = [faults.start("apply", inventory) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    statuses = sorted(run.returncode for run in runs)
    assert statuses == [0, 8], outputs
    loser = next(text for run, text in zip(runs, outputs, strict=True) if run.returncode == 8)
    assert "is changing it since" in loser and "pending until" in loser, loser
    assert faults.hosts.json("plan", inventory)["changes"] == []
    faults.assert_nothing_left()


def test_a_person_confirms_a_manual_change(faults: Faults, inventory: str) -> None:
    """Another controller needs --force to confirm; recover keeps what one host keeps."""
    faults.hosts.provision("apply", inventory, "--manual")
    (faults.hosts.lab.folder / "state").rename(faults.hosts.lab.folder / "elsewhere")
    try:
        faults.hosts.provision("confirm", inventory, status=2)
        faults.hosts.provision("confirm", inventory, "--force", "--limit", "h1")
        assert faults.hosts.provision("recover", inventory).count("confirmed") == 3
    finally:
        (faults.hosts.lab.folder / "elsewhere").rename(faults.hosts.lab.folder / "state")
    assert faults.hosts.json("plan", inventory)["changes"] == []
    faults.hosts.provision("confirm", inventory, status=2)
    faults.hosts.provision("destroy", inventory, "--yes", "--manual")
    assert faults.hosts.provision("confirm", inventory).count("confirmed") == 3
    faults.assert_restored()

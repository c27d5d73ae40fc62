"""A step of a change fails on one host: each strategy rolls back what it must."""

from __future__ import annotations

import pytest

from tests.lab.faults import KILL_ACT, Faults
from tests.lab.hosts import HOSTS

pytestmark = pytest.mark.lab


def test_a_failed_step_rolls_all_hosts_back(faults: Faults, inventory: str) -> None:
    """Apply exits with 5, every host is as before, and the next apply succeeds."""
    faults.at_step("h2", 5, KILL_ACT)
    result = faults.hosts.json("apply", inventory, status=5)
    assert set(result["hosts"].values()) == {"reverted (failed)"}
    assert set(faults.states(inventory).values()) == {"reverted (failed)"}
    faults.assert_restored()
    faults.assert_converges(inventory)


@pytest.mark.parametrize("step", [2, pytest.param(5, marks=pytest.mark.full)])
def test_a_destroy_that_fails_restores_the_same_containers(
    faults: Faults, inventory: str, step: int
) -> None:
    """The hosts start the stopped containers again, with their ids and their files."""
    faults.hosts.provision("apply", inventory)
    ids = [faults.hosts.ssh(host, "docker ps -q --no-trunc") for host in HOSTS]
    for number, host in enumerate(HOSTS, start=1):
        faults.hosts.ssh(host, f"docker exec c{number} sh -c 'echo kept >/file'")
        faults.at_step(host, step + 1, KILL_ACT)
    before = faults.hosts.capture()
    result = faults.hosts.json("destroy", inventory, "--yes", status=5)
    assert set(result["hosts"].values()) == {"reverted (failed)"}
    faults.heal()
    assert [faults.hosts.ssh(host, "docker ps -q --no-trunc") for host in HOSTS] == ids
    assert "kept" in faults.hosts.ssh("h2", "docker exec c2 cat /file")
    Faults(faults.hosts, before).assert_restored()
    assert faults.hosts.json("plan", inventory)["changes"] == []
    assert faults.hosts.json("verify", inventory)["ok"]


def test_a_rollback_that_is_repeated_restores_the_same_container(
    faults: Faults, inventory: str
) -> None:
    """A host tries four times, here because of a file of somebody: no time makes a new one."""
    faults.hosts.provision("apply", inventory)
    faults.hosts.ssh("h2", "docker exec c2 sh -c 'echo kept >/file'")
    container = faults.hosts.ssh("h2", "docker ps -q --no-trunc")
    before = faults.hosts.capture()
    changed = faults.hosts.inventory(
        "routes.yml",
        ("{host: h2, network: blue}", "{host: h2, network: blue, command: [sleep, 9d]}"),
    )
    foreign = "/etc/provision/demo/foreign"
    faults.at_step("h2", 2, f"touch {foreign}; {KILL_ACT}")
    result = faults.hosts.json("apply", changed, status=6)
    assert result["hosts"]["h2"] == "unknown (undo incomplete after failed)", result
    faults.heal()
    assert faults.hosts.ssh("h2", "docker ps -q --no-trunc") == container
    assert "kept" in faults.hosts.ssh("h2", "docker exec c2 cat /file")
    faults.hosts.ssh("h2", f"rm {foreign}")
    faults.hosts.provision("recover", inventory)
    Faults(faults.hosts, before).assert_restored()
    assert faults.hosts.ssh("h2", "docker ps -q --no-trunc") == container
    inventory = faults.hosts.inventory("routes.yml")
    assert faults.hosts.json("plan", inventory)["changes"] == []
    faults.hosts.provision("destroy", inventory, "--yes")
    faults.assert_restored()


def test_a_container_that_had_ended_can_be_started_after_a_rollback(
    faults: Faults, inventory: str
) -> None:
    """It keeps the id of its network, which the destroy removed and the rollback made anew."""
    faults.hosts.provision("apply", inventory)
    faults.hosts.ssh("h1", "docker kill c1")
    faults.at_step("h2", 2, KILL_ACT)
    faults.hosts.json("destroy", inventory, "--yes", status=5)
    faults.heal()
    assert "exited" in faults.hosts.ssh("h1", "docker inspect -f {{.State.Status}} c1")
    faults.hosts.provision("apply", inventory)
    assert faults.hosts.json("plan", inventory)["changes"] == []
    faults.hosts.verified(inventory)
    faults.hosts.provision("destroy", inventory, "--yes")
    faults.assert_restored()


def test_a_canary_that_fails_protects_the_other_hosts(faults: Faults, inventory: str) -> None:
    """No other host is changed; once the canary is healed, all hosts are."""
    faults.at_step("h1", 5, KILL_ACT)
    result = faults.hosts.json("apply", inventory, "--strategy", "canary=h1", status=5)
    assert result["hosts"] == {"h1": "reverted (failed)", "h2": "unchanged", "h3": "unchanged"}
    faults.heal()
    assert set(faults.states(inventory).values()) == {"reverted (failed)", "unchanged"}
    faults.assert_restored()
    result = faults.hosts.json("apply", inventory, "--strategy", "canary=h1")
    assert result["hosts"] == dict.fromkeys(HOSTS, "confirmed")
    faults.assert_converges(inventory)


def test_the_per_host_strategy_keeps_the_hosts_that_succeed(faults: Faults, inventory: str) -> None:
    """Apply exits with 6, because the hosts differ; the next one changes the failed host alone."""
    faults.at_step("h2", 5, KILL_ACT)
    result = faults.hosts.json("apply", inventory, "--strategy", "per-host", status=6)
    assert result["hosts"] == {"h1": "confirmed", "h2": "reverted (failed)", "h3": "confirmed"}
    faults.heal()
    faults.assert_nothing_left()
    remaining = faults.hosts.json("plan", inventory)["changes"]
    assert {change["host"] for change in remaining} == {"h2"}
    faults.assert_converges(inventory)


def test_a_rolling_change_stops_at_the_host_that_fails(faults: Faults, inventory: str) -> None:
    """The hosts before it keep the change, and the one after it is not touched."""
    faults.at_step("h2", 5, KILL_ACT)
    result = faults.hosts.json("apply", inventory, "--strategy", "rolling=33%", status=6)
    assert result["hosts"] == {"h1": "confirmed", "h2": "reverted (failed)", "h3": "unchanged"}
    faults.heal()
    faults.assert_nothing_left()
    result = faults.hosts.json("apply", inventory, "--strategy", "rolling=2")
    assert result["hosts"] == {"h1": "unchanged", "h2": "confirmed", "h3": "confirmed"}
    faults.assert_converges(inventory)


@pytest.mark.full
def test_a_dockerd_that_dies_leaves_all_hosts_changed_or_all_restored(
    faults: Faults, inventory: str
) -> None:
    """A killed dockerd never leaves some hosts confirmed and others rolled back."""
    faults.at_step("h3", 7, "kill -9 $(cat /run/docker.pid)")
    result = faults.hosts.json("apply", inventory, status=None)
    assert set(result["hosts"].values()) in ({"confirmed"}, {"reverted (failed)"}), result
    faults.heal()
    # Docker 28 forgets its own rules that it made just before it died, until it starts again.
    faults.hosts.ssh("h3", "systemctl restart docker")
    if "confirmed" not in result["hosts"].values():
        faults.assert_restored()
    faults.assert_converges(inventory)


@pytest.mark.full
def test_containers_run_again_after_docker_refused_its_new_configuration(faults: Faults) -> None:
    """The host restores daemon.json and starts Docker and the containers that ran."""
    inventory = faults.hosts.inventory("routes-docker0.yml")
    drop_in = '[Service]\nExecStartPre=/bin/sh -c "! grep -q 172.2 /etc/docker/daemon.json"\n'
    folder = "/run/systemd/system/docker.service.d"
    faults.hosts.ssh(
        "h2",
        f"mkdir -p {folder}; printf '%s' '{drop_in}' >{folder}/fault.conf; "
        "systemctl daemon-reload; docker run -d --restart no --name own busybox sleep 1000",
    )
    # An administrator's file: mode, owner and link are restored, too.
    faults.hosts.everywhere(
        "echo '{}' >/srv/d.json; chmod 600 /srv/d.json; chown root:docker /srv/d.json; "
        "mkdir -p /etc/docker; ln -s /srv/d.json /etc/docker/daemon.json"
    )
    attributes = "stat -c '%A %U %G %N' /srv/d.json /etc/docker/daemon.json"
    modes, before = faults.hosts.everywhere(attributes), faults.hosts.capture()
    try:
        result = faults.hosts.json("apply", inventory, status=5)
        assert set(result["hosts"].values()) == {"reverted (failed)"}, result
        Faults(faults.hosts, before).assert_restored()
        assert faults.hosts.everywhere(attributes) == modes
    finally:
        faults.hosts.everywhere("rm -f /srv/d.json /etc/docker/daemon.json")
        faults.hosts.ssh("h2", f"docker rm -f own; rm -r {folder}; systemctl daemon-reload")
    faults.assert_converges(inventory)

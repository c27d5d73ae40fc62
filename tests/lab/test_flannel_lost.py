"""Method `flannel` on booted hosts whose etcd members lose their data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts
from tests.lab.test_flannel import CTL, ETCD, FLANNELD, VXLAN, verified

pytestmark = pytest.mark.lab

DATA = "/var/lib/private/provision-etcd"
LOSE_DATA = f"systemctl stop {ETCD}; rm -rf {DATA}"
REINSTALL = f"""
systemctl disable --now {ETCD} {FLANNELD} provision-overlay-follow.service
rm -rf /etc/provision /etc/systemd/system/provision-overlay-* {DATA} /var/lib/provision-etcd
rm -rf /var/lib/provision-flannel /var/lib/private/provision-flannel
docker rm -f c2; docker network rm over; ip link del flannel.1
iptables-save | grep -v provision:overlay | iptables-restore
systemctl daemon-reload
"""
"""Commands after which a host has nothing of the inventory, but others still count on it."""
BREAK_ETCD = """
mv /usr/bin/etcd /usr/bin/etcd.whole
printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/etcd; chmod 755 /usr/bin/etcd
"""
"""Commands after which etcd is installed, but ends as soon as it starts."""
MEND_ETCD = "[ ! -e /usr/bin/etcd.whole ] || mv /usr/bin/etcd.whole /usr/bin/etcd"
RESTORE = "## Restore etcd after the loss of a majority"


@pytest.fixture(scope="module")
def over(booted: Callable[[str], Hosts]) -> Iterator[tuple[Hosts, str]]:
    """Hosts with flannel-vxlan.yml applied, which each test leaves working."""
    hosts = booted("mixed")
    inventory = hosts.inventory(VXLAN)
    hosts.provision("apply", inventory)
    yield hosts, inventory
    power.start(hosts.lab, say=print)
    hosts.provision("destroy", hosts.inventory(VXLAN), "--yes")
    left = hosts.everywhere(f"ls -d {DATA} /run/systemd/system/provision-*-etcd*", check=False)
    assert not any(left.values()), left


def leases(hosts: Hosts) -> dict[str, str]:
    """The address of the host that has each subnet, as etcd stores it."""
    prefix = "/coreos.com/network/subnets/"
    lines = hosts.ssh("h1", f"{CTL} get --prefix {prefix}").splitlines()
    return {key: json.loads(text)["PublicIP"] for key, text in zip(*[iter(lines)] * 2, strict=True)}


def members(hosts: Hosts) -> dict[str, str]:
    """The id of each member of etcd; all are started, and have a vote."""
    lines = [line.split(", ") for line in hosts.ssh("h1", f"{CTL} member list").splitlines()]
    assert {(line[1], line[5]) for line in lines} == {("started", "false")}, lines
    return {line[2]: line[0] for line in lines}


def voters(hosts: Hosts, host: str) -> set[str]:
    """The members that have a vote; the others are learners, which keep the place of a lost one."""
    lines = [line.split(", ") for line in hosts.ssh(host, f"{CTL} member list").splitlines()]
    assert len(lines) <= len(HOSTS), lines
    return {line[2] for line in lines if line[5] == "false"}


def healed(hosts: Hosts, inventory: str) -> None:
    """Verify passes, and a second apply changes nothing."""
    verified(hosts, inventory)
    assert hosts.json("plan", inventory)["changes"] == []
    assert not hosts.ssh("h2", f"ls /run/systemd/system | grep {ETCD}", check=False)


def heal(hosts: Hosts, inventory: str, kept: dict[str, str]) -> None:
    """Apply, which leaves the leases `kept` as they are."""
    hosts.provision("apply", inventory)
    healed(hosts, inventory)
    assert leases(hosts) == kept


def replaced(hosts: Hosts, inventory: str, *lost: str) -> None:
    """Apply gives the lost members new ids and leaves the others and all leases as they are."""
    before = members(hosts), leases(hosts)
    plan = hosts.provision("plan", inventory)
    for host in lost:
        assert f"! etcd on {host} has lost its data: the member is replaced" in plan
    heal(hosts, inventory, before[1])
    after = members(hosts)
    assert after.keys() == before[0].keys()
    assert {host for host in HOSTS if after[host] != before[0][host]} == set(lost)


@pytest.mark.full
def test_a_member_without_its_data_is_replaced(over: tuple[Hosts, str]) -> None:
    """The others keep their ids, all hosts their leases; a second apply changes nothing."""
    hosts, inventory = over
    hosts.ssh("h2", LOSE_DATA)
    replaced(hosts, inventory, "h2")


@pytest.mark.full
def test_a_member_whose_service_still_runs_is_replaced(over: tuple[Hosts, str]) -> None:
    """etcd starts again and again with the empty folder, and refuses each time."""
    hosts, inventory = over
    hosts.ssh("h3", f"{LOSE_DATA}; systemctl restart --no-block {ETCD}; sleep 3")
    replaced(hosts, inventory, "h3")


@pytest.mark.full
def test_a_reinstalled_host_gets_its_subnet_again(over: tuple[Hosts, str]) -> None:
    """The first member, which writes the settings for all, and another one."""
    hosts, inventory = over
    before = leases(hosts)
    hosts.ssh("h2", REINSTALL)
    plan = hosts.provision("plan", inventory)
    assert "! etcd on h2 has lost its data: the member is replaced" in plan
    heal(hosts, inventory, before)
    assert len(members(hosts)) == 3


@pytest.mark.full
def test_a_failed_replacement_is_rolled_back_and_can_be_repeated(over: tuple[Hosts, str]) -> None:
    """The others keep their majority and all leases, also of a host that lost everything."""
    hosts, inventory = over
    before = leases(hosts)
    hosts.ssh("h2", REINSTALL + BREAK_ETCD)
    try:
        result = hosts.json("apply", inventory, status=5)
        assert result["hosts"]["h2"] == "reverted (failed)"
        assert leases(hosts) == before
        assert voters(hosts, "h1") == {"h1", "h3"}
        assert "etcd on h2 has lost its data" in hosts.provision("plan", inventory)
    finally:
        hosts.ssh("h2", MEND_ETCD)
    heal(hosts, inventory, before)
    assert len(members(hosts)) == 3


def documented() -> str:
    """The commands of docs/flannel.md that restore etcd."""
    text = (Path(__file__).parents[2] / "docs" / "flannel.md").read_text()
    return text.partition(RESTORE)[2].partition("```sh\n")[2].partition("```")[0]


@pytest.mark.full
def test_the_loss_of_a_majority_is_refused_until_etcd_is_restored(over: tuple[Hosts, str]) -> None:
    """The commands of the docs, pasted on the host that has the data, keep all leases.

    That is h2: its etcd is the oldest, and could not join the newer ones any more.
    """
    hosts, inventory = over
    before = leases(hosts)
    for host in ("h1", "h3"):
        hosts.ssh(host, LOSE_DATA)
    for verb in ("plan", "apply"):
        errors = hosts.json(verb, inventory, status=4)["errors"]
        assert [error["host"] for error in errors] == ["h1"]
        assert "h1 and h3 have lost the data, which only h2 still has" in errors[0]["message"]
        assert "docs/flannel.md" in errors[0]["hint"]
    assert "inactive" in hosts.ssh("h3", f"systemctl is-active {ETCD}", check=False)
    hosts.ssh("h2", documented())
    heal(hosts, inventory, before)
    assert len(members(hosts)) == 3


@pytest.mark.full
def test_a_rollback_keeps_the_majority_of_a_restored_etcd(over: tuple[Hosts, str]) -> None:
    """A member that has joined leaves the cluster before the rollback deletes its data."""
    hosts, inventory = over
    before = leases(hosts)
    for host in ("h1", "h3"):
        hosts.ssh(host, LOSE_DATA)
    hosts.ssh("h2", documented())
    hosts.ssh("h3", BREAK_ETCD)
    try:
        # h1 is replaced first, and has a vote by then.
        result = hosts.json("apply", inventory, status=5)
        assert set(result["hosts"].values()) == {"reverted (failed)", "unchanged"}, result
        assert voters(hosts, "h2") == {"h2"}
    finally:
        hosts.ssh("h3", MEND_ETCD)
    heal(hosts, inventory, before)


@pytest.mark.full
def test_an_older_etcd_cannot_join_newer_ones(over: tuple[Hosts, str]) -> None:
    """The error names the versions; without h2 among the members, etcd works again.

    Two members are refused, so a single one starts anew with all leases.
    """
    hosts, inventory = over
    before = leases(hosts)
    for host in ("h1", "h2"):
        hosts.ssh(host, LOSE_DATA)
    hosts.ssh("h3", documented())
    result = hosts.json("apply", inventory, status=5)
    messages = [error["message"] for error in result["errors"] if error["host"] == "h2"]
    assert any("etcd on h2 is too old to join" in message for message in messages), result
    other = hosts.inventory(
        VXLAN, ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h1],")
    )
    heal(hosts, other, before)
    hosts.provision("apply", hosts.inventory(VXLAN))
    healed(hosts, inventory)


@pytest.mark.full
def test_all_data_is_written_again(over: tuple[Hosts, str]) -> None:
    """A single member that lost its data starts anew, and every flanneld registers again."""
    hosts, inventory = over
    single = hosts.inventory(
        VXLAN, ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h1],")
    )
    hosts.provision("apply", single)
    before = leases(hosts)
    hosts.ssh("h1", LOSE_DATA)
    plan = hosts.provision("plan", single)
    assert "! etcd on h1 has lost its data: all keys are written again" in plan
    heal(hosts, single, before)
    keys = hosts.ssh("h1", f"{CTL} get --prefix --print-value-only /coreos.com/network/subnets/")
    assert keys.count("VtepMAC") == 3
    hosts.provision("apply", hosts.inventory(VXLAN))
    verified(hosts, inventory)

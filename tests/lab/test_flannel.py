"""Method `flannel` on booted hosts with etcd 3.4 and 3.5, and Docker 20.10, 26.1 and 28.5."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from provision.inventory.load import load
from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same

pytestmark = pytest.mark.lab

VXLAN = "flannel-vxlan.yml"
EXAMPLES = (VXLAN, "flannel-udp.yml", "flannel-host-gw.yml", "flannel-docker0.yml")
CTL = "/etc/provision/overlay/etcdctl-over"
ETCD = "provision-overlay-over-etcd.service"
FLANNELD = "provision-overlay-over-flanneld.service"
LEASE = "/coreos.com/network/subnets/172.16.{}.0-24"
PAIR_CHECKS = {"ping", "source", "mtu", "tcp", "udp", "wire", "broadcast"}


def verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> None:
    """All checks of all pairs and hosts pass, at most `within_s` seconds from now."""
    results = hosts.verified(inventory, within_s=within_s)["checks"]
    checks = {(check["check"], check["from"], check["to"]) for check in results}
    assert {name for name, *_ in checks} == {*PAIR_CHECKS, "mode", "drift", "etcd", "leases"}
    assert len([name for name, *_ in checks if name in PAIR_CHECKS]) == 6 * len(PAIR_CHECKS)


def failed_checks(hosts: Hosts, inventory: str) -> list[str]:
    """The failing checks of verify, each with its detail."""
    result = hosts.json("verify", inventory, status=7)
    return [f"{c['check']}: {c['detail']}" for c in result["checks"] if not c["ok"]]


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the examples that they still have are destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    remaining = "".join(mixed.everywhere("ls /etc/provision", check=False).values())
    for example in EXAMPLES:
        inventory = mixed.inventory(example)
        if load(mixed.lab.folder / inventory).name in remaining:
            mixed.provision("destroy", inventory, "--yes", status=None)


def address(hosts: Hosts, number: int) -> str:
    """The data address of host `h{number}`."""
    return f"{hosts.networks[1]}.1{number}"


@pytest.mark.parametrize(
    "example", [VXLAN, *(pytest.param(name, marks=pytest.mark.full) for name in EXAMPLES[1:])]
)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """Verify passes, a second apply changes nothing, and destroy restores the hosts."""
    inventory = clean.inventory(example)
    before = clean.capture()
    result = clean.json("apply", inventory)
    assert set(result["hosts"].values()) == {"confirmed"}
    verified(clean, inventory)
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_through_reboots(clean: Hosts, example: str) -> None:
    """The example works after one host has rebooted, and after all have."""
    inventory = clean.inventory(example)
    before = clean.capture()
    clean.provision("apply", inventory)
    power.reboot(clean.lab, ("h1",), say=print)
    verified(clean, inventory, within_s=60)
    power.reboot(clean.lab, HOSTS, say=print)
    verified(clean, inventory, within_s=120)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_an_example_on_one_suite(booted: Callable[[str], Hosts], suite: str) -> None:
    """The example works on three hosts of the same suite."""
    test_an_example_from_apply_to_destroy(booted(suite), VXLAN)


@pytest.mark.full
def test_a_host_is_added_and_removed(clean: Hosts) -> None:
    """Only the new host and the members' firewalls change; after its destroy, the others work."""
    hosts = clean
    two_hosts = ("backend: vxlan", "hosts: [h1, h2]\n    backend: vxlan")
    two_containers = ("  c3: {host: h3, network: over}\n", "")
    members = ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h1],")
    small = hosts.inventory(VXLAN, two_hosts, two_containers, members)
    before = hosts.capture()
    hosts.provision("apply", small)
    whole = hosts.inventory(VXLAN, members, to=small)
    changes = hosts.json("plan", whole)["changes"]
    assert {c["host"] for c in changes} == {"h1", "h3"}
    assert {c["kind"] for c in changes if c["host"] == "h1"} == {"iptables_chain", "file"}
    pid = hosts.ssh("h2", f"systemctl show -p MainPID {FLANNELD}")
    hosts.provision("apply", whole)
    verified(hosts, whole)
    assert hosts.ssh("h2", f"systemctl show -p MainPID {FLANNELD}") == pid
    hosts.provision("destroy", whole, "--limit", "h3", "--yes")
    assert_same({"h3": before["h3"]}, hosts.capture())
    assert LEASE.format(2) not in hosts.ssh("h1", f"{CTL} get --prefix --keys-only /")
    hosts.provision("apply", hosts.inventory(VXLAN, two_hosts, two_containers, members, to=small))
    assert hosts.json("verify", small)["ok"]
    hosts.provision("destroy", small, "--yes")
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_etcd_moves_to_other_members(clean: Hosts) -> None:
    """A new etcd starts on them with the same leases, and verify passes."""
    one_member = ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h2],")
    inventory = clean.inventory(VXLAN, one_member)
    clean.provision("apply", inventory)
    clean.provision("apply", clean.inventory(VXLAN))
    verified(clean, inventory)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("apply", clean.inventory(VXLAN, one_member))
    verified(clean, inventory)
    assert not clean.ssh("h1", "ls /var/lib/private | grep provision", check=False)
    clean.provision("destroy", inventory, "--yes")


def test_a_foreign_configuration_in_etcd_is_a_conflict(clean: Hosts) -> None:
    """Without our mark in etcd, apply does not overwrite flannel's configuration."""
    inventory = clean.inventory(VXLAN)
    clean.provision("apply", inventory)
    clean.ssh("h1", f"{CTL} del /provision/overlay/over/config")
    plan = clean.provision("plan", inventory, status=9)
    assert "etcd_config over/coreos.com/network/config exists outside this inventory" in plan
    clean.provision("apply", inventory, status=9)
    mark = {"host": "h1", "prefix": "/coreos.com/network", "cluster": "x"}
    clean.ssh("h1", f"{CTL} put /provision/overlay/over/config '{json.dumps(mark)}'")
    clean.provision("apply", inventory)
    verified(clean, inventory)


def test_two_hosts_with_one_address_are_refused(clean: Hosts) -> None:
    """flannel would give both hosts the same subnet without a warning."""
    inventory = clean.inventory(
        VXLAN, (f"{address(clean, 2)}", f"{address(clean, 1)}"), to="same.yml"
    )
    error = clean.json("plan", inventory, status=3)["errors"][0]
    assert "have the same address" in error["message"]

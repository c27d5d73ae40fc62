"""Method `flannel` on booted hosts: etcd 3.4 and 3.5 together, Docker 20.10, 26.1 and 28.5."""

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
OF_PAIR = {"ping", "source", "mtu", "tcp", "udp", "wire", "broadcast"}


def verified(hosts: Hosts, inventory: str, *, within_s: float = 60) -> None:
    """All checks of all pairs and hosts pass, at the latest after `within_s` seconds."""
    checks = hosts.verified(inventory, within_s=within_s)["checks"]
    seen = {(check["check"], check["from"], check["to"]) for check in checks}
    assert {name for name, *_ in seen} == {*OF_PAIR, "mode", "drift", "etcd", "leases"}
    assert len([one for one in seen if one[0] in OF_PAIR]) == 6 * len(OF_PAIR)


def findings(hosts: Hosts, inventory: str) -> list[str]:
    """What verify says is wrong."""
    result = hosts.json("verify", inventory, status=7)
    return [f"{c['check']}: {c['detail']}" for c in result["checks"] if not c["ok"]]


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts on which nothing of ours is, before and after."""
    yield mixed
    power.start(mixed.lab, say=print)
    left = "".join(mixed.everywhere("ls /etc/provision", check=False).values())
    for example in EXAMPLES:
        inventory = mixed.inventory(example)
        if load(mixed.lab.folder / inventory).name in left:
            mixed.provision("destroy", inventory, "--yes", status=None)


def address(hosts: Hosts, number: int) -> str:
    return f"{hosts.networks[1]}.1{number}"


@pytest.mark.parametrize(
    "example", [VXLAN, *(pytest.param(name, marks=pytest.mark.full) for name in EXAMPLES[1:])]
)
def test_an_example_from_apply_to_destroy(clean: Hosts, example: str) -> None:
    """Apply within a minute, verify, nothing more to do, destroy: the hosts are as they were."""
    inventory = clean.inventory(example)
    before = clean.capture()
    done = clean.json("apply", inventory)
    assert set(done["hosts"].values()) == {"confirmed"}
    verified(clean, inventory)
    assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_through_reboots(clean: Hosts, example: str) -> None:
    """One host off and on, then all at once."""
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
    """The same on three hosts of one suite."""
    test_an_example_from_apply_to_destroy(booted(suite), VXLAN)


@pytest.mark.full
def test_a_host_is_added_and_removed(clean: Hosts) -> None:
    """Only it changes, and etcd's members let it in; destroyed alone, the rest stays whole."""
    hosts = clean
    two = ("backend: vxlan", "hosts: [h1, h2]\n    backend: vxlan")
    fewer = ("  c3: {host: h3, network: over}\n", "")
    members = ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h1],")
    small = hosts.inventory(VXLAN, two, fewer, members)
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
    hosts.provision("apply", hosts.inventory(VXLAN, two, fewer, members, to=small))
    assert hosts.json("verify", small)["ok"]
    hosts.provision("destroy", small, "--yes")
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_etcd_moves_to_other_members(clean: Hosts) -> None:
    """It starts anew there; the map is the same, and verified."""
    one = ("    # etcd: {members: [h1, h2, h3],", "    etcd: {members: [h2],")
    inventory = clean.inventory(VXLAN, one)
    clean.provision("apply", inventory)
    clean.provision("apply", clean.inventory(VXLAN))
    verified(clean, inventory)
    assert clean.json("plan", inventory)["changes"] == []
    clean.provision("apply", clean.inventory(VXLAN, one))
    verified(clean, inventory)
    assert not clean.ssh("h1", "ls /var/lib/private | grep provision", check=False)
    clean.provision("destroy", inventory, "--yes")


def test_a_configuration_of_others_is_a_conflict(clean: Hosts) -> None:
    """Without the key that says it is ours, nothing is written over it."""
    inventory = clean.inventory(VXLAN)
    clean.provision("apply", inventory)
    clean.ssh("h1", f"{CTL} del /provision/overlay/over/config")
    said = clean.provision("plan", inventory, status=9)
    assert "etcd_config over/coreos.com/network/config exists outside this inventory" in said
    clean.provision("apply", inventory, status=9)
    own = {"host": "h1", "prefix": "/coreos.com/network", "cluster": "x"}
    clean.ssh("h1", f"{CTL} put /provision/overlay/over/config '{json.dumps(own)}'")
    clean.provision("apply", inventory)
    verified(clean, inventory)


def test_two_hosts_with_one_address_are_refused(clean: Hosts) -> None:
    """flannel would give both one subnet, silently."""
    inventory = clean.inventory(
        VXLAN, (f"{address(clean, 2)}", f"{address(clean, 1)}"), to="same.yml"
    )
    error = clean.json("plan", inventory, status=3)["errors"][0]
    assert "have the same address" in error["message"]

"""Things of strangers survive a change on booted hosts, and what has lost its mark is healed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.hosts import Hosts, assert_same, without_records
from tests.strangers import (
    Stranger,
    assert_survives,
    docker_strangers,
    etcd_strangers,
    ovs_strangers,
)

pytestmark = pytest.mark.lab

# An etcd of its own on the host, asked by the command that provision writes for a network.
ETCD = r"""
systemd-run -q --unit=strange-etcd etcd --data-dir /run/strange-etcd
mkdir -p /etc/provision/demo
printf '#!/bin/sh\nETCDCTL_API=3 exec etcdctl "$@"\n' >/etc/provision/demo/etcdctl-over
chmod 755 /etc/provision/demo/etcdctl-over
for n in 1 2 3 4 5 6 7 8 9 10; do
  /etc/provision/demo/etcdctl-over get / >/dev/null 2>&1 && break; sleep 1
done
"""
CLEAN = "systemctl stop strange-etcd; rm -rf /etc/provision /run/strange-etcd /run/begun"
OVS = "openvswitch-switch.service"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts, without the inventory `demo` afterwards."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.everywhere("systemctl is-active -q docker || systemctl restart docker", check=False)
    if any(mixed.everywhere("ls -d /etc/provision/demo", check=False).values()):
        mixed.provision("destroy", mixed.inventory("routes.yml"), "--yes", status=None)


def _assert_all_survive(hosts: Hosts, strangers: tuple[Stranger, ...]) -> None:
    for stranger in strangers:
        assert_survives(lambda text: hosts.ssh("h1", text, check=False), stranger)
        hosts.ssh("h1", stranger.clean, check=False)
        hosts.ssh("h1", "rm -rf /var/lib/provision/was", check=False)


@pytest.mark.full
def test_what_a_stranger_made_of_every_other_kind_survives(clean: Hosts) -> None:
    """Kinds of Docker, Open vSwitch and etcd, which need a booted host; the others: tests/netns."""
    before = clean.capture()
    image = clean.ssh("h1", "docker image ls -q | head -n 1").strip()
    assert image
    _assert_all_survive(clean, docker_strangers(image))
    enabled = clean.ssh("h1", f"systemctl is-enabled {OVS}", check=False).strip()
    clean.ssh("h1", f"systemctl unmask {OVS}; systemctl start {OVS}", check=False)
    try:
        _assert_all_survive(clean, ovs_strangers())
    finally:
        stop = f"systemctl stop {OVS} ovs-vswitchd ovsdb-server; rm -f /var/lib/openvswitch/conf.db"
        clean.ssh("h1", f"{stop} /var/lib/openvswitch/.conf.db.~lock~", check=False)
        clean.ssh("h1", "rm -f /etc/openvswitch/system-id.conf", check=False)
        verb = {"masked": "mask", "disabled": "disable"}.get(enabled, "is-enabled")
        clean.ssh("h1", f"systemctl -q {verb} {OVS}", check=False)
    try:
        clean.ssh("h1", ETCD, check=False)
        _assert_all_survive(clean, etcd_strangers("demo", "over", "/coreos.com/network"))
    finally:
        clean.ssh("h1", CLEAN, check=False)
    assert_same(before, clean.capture())


# A stranger acts once the host is armed: after the last snapshot, before the steps, which a second
# record of the host's state delays.
WAIT = """systemd-run -q --collect --unit=stranger sh -c '
until [ -e /var/lib/provision/txn/id ]; do sleep 0.05; done; {}'"""
MACVLAN = "docker network create -d macvlan --subnet 172.29.8.0/24 -o parent=eth1 blue"


def test_a_macvlan_network_of_our_name_survives_apply(clean: Hosts) -> None:
    """It appears after the plan: apply fails and rolls back. Before the plan it is a conflict."""
    name = clean.inventory("routes.yml")
    show = "docker network inspect --format '{{.Id}} {{.Driver}}' blue"
    clean.ssh("h1", WAIT.format(MACVLAN))
    result = clean.json("apply", name, "--yes", status=None)
    assert result["hosts"]["h1"].startswith("reverted (failed)"), result
    network = clean.ssh("h1", show)
    assert network.strip().endswith("macvlan")
    plan = clean.provision("plan", name, status=9)
    assert "docker_network blue exists outside this inventory" in plan
    clean.provision("apply", name, "--yes", status=9)
    clean.provision("destroy", name, "--yes", status=None)
    assert clean.ssh("h1", show) == network
    clean.ssh("h1", "docker network rm blue")
    # A network of another name on exactly the part of the host.
    clean.ssh("h2", "docker network create -d macvlan --subnet 172.20.1.0/24 -o parent=eth1 other")
    assert "172.20.1.0/24 of Docker network other" in clean.provision("plan", name, status=9)
    clean.ssh("h2", "docker network rm other")
    clean.ssh("h2", "ip link add strange type bridge; ip address add 172.20.1.9/24 dev strange; "
              "ip link set strange up")  # fmt: skip
    assert "172.20.1.0/24 is in use on strange" in clean.provision("plan", name, status=9)
    clean.ssh("h2", "ip link del strange")


LOSSES = {
    "h1": "iptables -D DOCKER-USER -j PROV-demo-blue-v242wt -m comment --comment "
    "provision:demo/blue; iptables -F PROV-demo-blue-v242wt",
    "h2": "rm -rf /etc/provision",
    "h3": "rm -rf /etc/provision/demo/routes",
}


def test_what_has_lost_its_mark_is_healed_and_destroyed(clean: Hosts) -> None:
    """The hook of a chain, and the folder with the claims of routes."""
    before = clean.capture()
    name = clean.inventory("routes.yml")
    clean.provision("apply", name)
    applied = clean.capture()
    for host, loss in LOSSES.items():
        clean.damage(host, loss)
    plan = clean.provision("plan", name)
    assert "chain PROV-demo-blue-v242wt is ours, damaged" in plan
    assert plan.count(" are ours, damaged: their claims in /etc/provision/demo/routes/blue") == 2
    clean.provision("apply", name, "--yes")
    assert_same(*map(without_records, (applied, clean.capture())))
    assert clean.json("apply", name)["changes"] == []
    for host, loss in LOSSES.items():
        clean.damage(host, loss)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())
    assert json.loads(clean.provision("status", name, "--json"))

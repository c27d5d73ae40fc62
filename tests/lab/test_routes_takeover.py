"""Hosts on which version 0.1.0 has made routes: a claim for each route instead of one for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records

pytestmark = pytest.mark.lab

AS_0_1_0 = """
cd /etc/provision/demo/routes
while read -r dst row; do echo "$dst $row" >"${dst%/*}_${dst#*/}"; done <blue
rm blue; echo '# of version 0.1.0' >>../volatile.sh
"""
"""Turns what this version keeps on a host into what version 0.1.0 has kept."""
WATCH = "nohup ip -4 monitor route >/run/watched 2>&1 & echo $! >/run/watched.pid"
MEET = """
until grep -q 198.51.100.%d /run/watched; do
  ip route replace 198.51.100.%d dev lo; ip route del 198.51.100.%d; sleep 0.1
done
"""
"""Waits until the monitor has reported a route that is made and removed from now on."""
END = "kill $(cat /run/watched.pid); cat /run/watched; rm /run/watched /run/watched.pid"


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Three hosts; afterwards the example is destroyed."""
    yield mixed
    power.start(mixed.lab, say=print)
    mixed.provision("destroy", mixed.inventory("routes.yml"), "--yes", status=None)


@pytest.mark.full
def test_hosts_of_0_1_0_are_taken_over_without_a_touch_and_destroyed(clean: Hosts) -> None:
    """The plan updates stored files alone; the kernel's routes stay as they are."""
    before, name = clean.capture(), clean.inventory("routes.yml")
    clean.provision("apply", name)
    applied = clean.capture()
    for host in HOSTS:
        clean.ssh(host, AS_0_1_0)
        clean.ssh(host, WATCH + MEET % (1, 1, 1))
    changes = clean.json("plan", name)["changes"]
    assert {(c["kind"], c["verb"], "rows" in c) for c in changes} == {
        ("routes", "update", False),
        ("file", "update", False),
    }
    clean.provision("apply", name)
    for host in HOSTS:
        clean.ssh(host, MEET % (2, 2, 2))
        lines = clean.ssh(host, END).splitlines()
        assert [line for line in lines if "198.51.100." not in line] == []
    assert_same(*map(without_records, (applied, clean.capture())))
    assert clean.json("plan", name)["changes"] == []
    for host in HOSTS:
        clean.ssh(host, AS_0_1_0)
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_drift_of_one_route_is_named_and_only_it_is_healed(clean: Hosts) -> None:
    """By apply, and by the follower at the next start of a container."""
    name = clean.inventory("routes.yml")
    clean.provision("apply", name)
    lost = "172.20.2.0/24"
    clean.damage("h1", f"ip route del {lost}")
    clean.ssh("h1", WATCH + MEET % (1, 1, 1))
    plan = clean.provision("plan", name)
    assert f"rows: ~ {lost} lost → via " in plan and "172.20.1.0/24" not in plan
    clean.provision("apply", name)
    clean.ssh("h1", MEET % (2, 2, 2))
    watched = [line for line in clean.ssh("h1", END).splitlines() if "198.51.100." not in line]
    assert [line.split()[0] for line in watched] == [lost]
    clean.damage("h1", f"ip route del {lost}; docker restart -t 0 c1")
    clean.ssh("h1", f'until [ -n "$(ip route show {lost} proto 240)" ]; do sleep 0.2; done')
    assert clean.json("plan", name)["changes"] == []

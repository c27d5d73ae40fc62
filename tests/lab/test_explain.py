"""`provision explain` on booted hosts names planted faults, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.explain_faults import Fault, Planter, assert_nothing_watches, faults
from tests.lab.hosts import Hosts, assert_same

pytestmark = pytest.mark.lab
HEALTHY = {
    "routes.yml": ("c1 c2", "c3 c1", "h1 c1", "c1 h2", "h1 h3"),
    "vxlan.yml": ("w1 w2", "w3 w1", "w2 h1"),
    "vxlan-evpn.yml": ("e1 e2", "e3 e1"),
    "flannel-vxlan.yml": ("c1 c2", "c3 c1"),
    "flannel-udp.yml": ("c1 c2",),
    "flannel-host-gw.yml": ("c1 c2",),
    "ovs-gre.yml": ("g1 g2", "g3 g1"),
    "ovs-vxlan.yml": ("v1 v2",),
    "wireguard.yml": ("s1 s2", "s3 s1"),
    "bgp.yml": ("b1 b2", "b3 b1"),
    "pipework.yml": ("c2 c3", "bare1 bare2", "h1 c3"),
    "pipework-ovs.yml": ("o1 o2", "h1 o3"),
    "macvlan.yml": ("c1 c2", "h1 c2"),
    "modes.yml": ("net1 net2", "side1 web1", "net1 own2", "h1 site --tcp 8080"),
}
"""Pairs of each example inventory that reach each other, as arguments of `explain`."""
REPEATED = 8
"""How often each pair is explained: all inventories together make more than 200 explanations."""
KILLED_AFTER_S = (0.8, 1.2, 1.6, 2.0, 2.4)
"""Moments at which the controller is killed: one for each inventory, in turn."""


def named(hosts: Hosts, planted: list[Fault]) -> tuple[list[str], list[str]]:
    """Plant each fault; the mistakes of all answers, and of those that claim to be certain."""
    mistakes, lies = [], []
    planter = Planter.on(hosts)
    for fault in planted:
        try:
            answer = planter.explained(fault)
        finally:
            _stop_followers(hosts)
        wrong = planter.mistakes(fault, answer)
        assert answer["reached"] == fault.reached, (fault.name, answer)
        if wrong:
            mistakes.append(f"{fault.name}: {'; '.join(wrong)}")
            if (answer["cause"] or {}).get("certain"):
                lies.append(fault.name)
    return mistakes, lies


def _stop_followers(hosts: Hosts) -> None:
    """Keep provision's own repair from healing a fault before it is explained."""
    hosts.everywhere("systemctl stop 'provision-*-follow.service'", check=False)


@pytest.fixture
def routes(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts with the network of routes.yml, and no follower."""
    before = mixed.capture()
    name = mixed.inventory("routes.yml")
    mixed.provision("apply", name)
    _stop_followers(mixed)
    yield mixed
    mixed.provision("destroy", name, "--yes")
    assert_same(before, mixed.capture())


def test_planted_faults_are_named_and_nothing_stays(routes: Hosts) -> None:
    """A sample of the faults; then a healthy pair, whole and with a controller that is killed."""
    mistakes, lies = named(routes, [fault for fault in faults("routes.yml") if fault.sample])
    assert not mistakes and not lies, mistakes
    before = routes.capture()
    answer = routes.json("explain", "routes.yml", "c1", "c2")
    assert answer["reached"] and answer["cause"] is None, answer
    assert all(hop["seen"] for hop in answer["hops"]), answer["hops"]
    assert {hop["host"] for hop in answer["hops"]} == {"h1", "h2"}
    page = routes.lab.folder / "path.html"
    routes.provision("explain", "routes.yml", "c1", "c2", "--html", page.name)
    assert "<svg" in page.read_text() and 'class="seen"' in page.read_text()
    _killed(routes, "routes.yml", "c1 c3", after_s=1.5)
    assert_nothing_watches(routes)
    assert_same(before, routes.capture())


def _killed(hosts: Hosts, inventory: str, pair: str, after_s: float) -> None:
    """Kill the controller in the middle of an explanation."""
    program = str(Path(sys.executable).with_name("provision"))
    process = subprocess.Popen(
        (program, "explain", inventory, *pair.split()),
        cwd=hosts.lab.folder,
        env=hosts.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.full
@pytest.mark.parametrize("inventory", sorted({fault.inventory for fault in faults()}))
def test_every_planted_fault_is_named(mixed: Hosts, inventory: str) -> None:
    """At least 95 % of all faults by host, kind, object and fix; none wrongly as certain."""
    before = mixed.capture()
    name, planted = mixed.inventory(inventory), faults(inventory)
    mixed.provision("apply", name)
    _stop_followers(mixed)
    mistakes, lies = named(mixed, planted)
    assert not lies, mistakes
    assert len(mistakes) <= len(planted) // 20, mistakes
    mixed.provision("destroy", name, "--yes")
    assert_same(before, mixed.capture())


@pytest.mark.full
@pytest.mark.parametrize("inventory", HEALTHY)
def test_healthy_pairs_are_reached(mixed: Hosts, inventory: str) -> None:
    """Of every method: the probe arrives, no cause is given, and nothing stays on the hosts.

    Nothing stays either where the controller is killed in the middle of an explanation.
    """
    name = mixed.inventory(inventory)
    mixed.provision("apply", name)
    mixed.verified(name, skips=("wire", "source", "mtu", "broadcast"))
    before = mixed.capture()
    for pair in HEALTHY[inventory]:
        for _ in range(REPEATED):
            answer = mixed.json("explain", name, *pair.split())
            assert answer["reached"] and answer["cause"] is None, answer
    moment = KILLED_AFTER_S[list(HEALTHY).index(inventory) % len(KILLED_AFTER_S)]
    _killed(mixed, inventory, HEALTHY[inventory][0], moment)
    assert_nothing_watches(mixed)
    assert_same(before, mixed.capture())
    mixed.provision("destroy", name, "--yes")

"""Changes that end at a given step on all hosts, and what must be left then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.faults import KILL_ACT, KILL_MIDWAY, Faults, injecting
from tests.lab.hosts import HOSTS, Hosts

STEPS = {
    "routes.yml": 8,
    "pipework.yml": 9,
    "flannel-udp.yml": 21,
    "flannel-vxlan.yml": 21,
    "flannel-host-gw.yml": 21,
    "vxlan.yml": 7,
    "ovs-gre.yml": 12,
    "ovs-vxlan.yml": 12,
    "modes.yml": 12,
    "wireguard.yml": 11,
    "bgp.yml": 12,
    "vxlan-evpn.yml": 12,
}
"""By example, the steps of its first apply and of its destroy on the host that has most."""
Cuts = tuple[str, ...]
CUTS: tuple[Cuts, Cuts] = (
    (KILL_ACT, KILL_MIDWAY, KILL_ACT),
    (KILL_MIDWAY, KILL_ACT, KILL_MIDWAY),
)
"""By host, where a step is ended: before its first command or after it."""
DATABASE = "/etc/openvswitch/"
"""Open vSwitch's database file, which counts every change."""
SETTLED_S = 60
"""Seconds until daemons that have restarted know each other again: etcd, bgpd and its routes."""


class Crash:
    """The changes of one example, ended at a step on all hosts."""

    def __init__(self, faults: Faults, example: str) -> None:
        self.faults, self.hosts = faults, faults.hosts
        self.inventory = faults.hosts.inventory(example)
        self.applied: dict[str, str] = {}

    def cut_apply(self, step: int, cuts: Cuts) -> None:
        """End an apply at a step: every host is as before."""
        self._cut(step, cuts, "apply", self.inventory)
        self.faults.assert_restored()

    def apply(self) -> int:
        """Apply completely; the number of its steps."""
        steps = self._run("apply", self.inventory)
        assert self.hosts.json("plan", self.inventory)["changes"] == []
        # Routing daemons learn the routes of the others some seconds later.
        self.hosts.verified(self.inventory, skips=("wire", "broadcast"))
        self.applied = self.hosts.capture()
        return steps

    def cut_destroy(self, step: int, cuts: Cuts) -> None:
        """End a destroy at a step: every host is as applied and has the same containers."""
        ids = self.hosts.everywhere("docker ps -q --no-trunc | sort")
        self._cut(step, cuts, "destroy", self.inventory, "--yes")
        assert self.hosts.everywhere("docker ps -q --no-trunc | sort") == ids, (step, cuts)
        deadline = time.monotonic() + SETTLED_S
        restored = Faults(self.hosts, self.applied, ignored=(DATABASE,))
        while any(restored.differences().values()) and time.monotonic() < deadline:
            time.sleep(1)
        restored.assert_restored()
        while changes := self.hosts.json("plan", self.inventory)["changes"]:
            assert time.monotonic() < deadline, (step, cuts, changes)
            time.sleep(2)

    def destroy(self) -> int:
        """Destroy completely; the number of its steps."""
        steps = self._run("destroy", self.inventory, "--yes")
        self.faults.assert_restored()
        return steps

    def _cut(self, step: int, cuts: Cuts, *arguments: str) -> None:
        for host, cut in zip(HOSTS, cuts, strict=True):
            self.faults.at_step(host, step, cut)
        result = self.hosts.json(*arguments, status=None)
        reached = [self.faults.inside(host, "ls /run/fault/done") for host in HOSTS]
        self.faults.heal()
        assert any(reached), f"no host has a step {step}"
        states = set(result["hosts"].values())
        assert states <= {"reverted (failed)", "unchanged"}, (step, cuts, result)

    def _run(self, *arguments: str) -> int:
        for host in HOSTS:
            self.faults.at_step(host, 10_000, ":")
        self.hosts.provision(*arguments)
        counts = [self.faults.inside(host, "cat /run/fault/begun") for host in HOSTS]
        self.faults.heal()
        return max(int(count or 0) for count in counts)


@pytest.fixture
def crash(booted: Callable[[str], Hosts], example: str) -> Iterator[Crash]:
    """The changes of one example on three hosts, which are healed afterwards."""
    with injecting(booted("mixed"), example) as faults:
        yield Crash(faults, example)


def crash_everywhere(crash: Crash, example: str) -> None:
    """End each step, on some hosts before its first command and on the others after it.

    The hosts change their parts from step to step, and destroy has those that apply had not: so
    each host meets each step twice, and half as many changes are needed as for all combinations.
    """
    for step in range(STEPS[example]):
        crash.cut_apply(step + 1, CUTS[step % 2])
    assert crash.apply() == STEPS[example]
    for step in range(STEPS[example]):
        crash.cut_destroy(step + 1, CUTS[(step + 1) % 2])
    assert crash.destroy() == STEPS[example]

"""A change that is cut at any of its steps, by every method: undone whole, on all hosts at once.

By default a few of the cuts, the same ones in each run; all of them in the full tests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab.faults import KILL_ACT, KILL_MIDWAY, Faults, injecting
from tests.lab.hosts import HOSTS, Hosts

pytestmark = pytest.mark.lab
STEPS = {
    "routes.yml": 9,
    "pipework.yml": 9,
    "flannel-udp.yml": 21,
    "flannel-vxlan.yml": 21,
    "flannel-host-gw.yml": 21,
    "vxlan.yml": 7,
    "ovs-gre.yml": 12,
    "ovs-vxlan.yml": 12,
    "modes.yml": 13,
}
"""Steps of each example's first apply, and of its destroy, on the host that has most."""
HOWS = (KILL_ACT, KILL_MIDWAY)
DATABASE = "/etc/openvswitch/"
"""Open vSwitch counts there what it does."""
SETTLED_S = 60
"""Members of etcd that start anew wait for each other."""
SAMPLED = ("routes.yml", "flannel-vxlan.yml", "ovs-gre.yml")
"""Those of which both changes are cut once by default."""


class Crash:
    """One example's changes, cut at a step on all hosts."""

    def __init__(self, faults: Faults, example: str) -> None:
        self.faults, self.hosts = faults, faults.hosts
        self.inventory = faults.hosts.inventory(example)
        self.new: dict[str, str] = {}

    def of_apply(self, step: int, how: str) -> None:
        """Every host is as before."""
        self._cut(step, how, "apply", self.inventory)
        self.faults.assert_restored()

    def apply(self) -> int:
        """Make it whole; how many steps that takes."""
        steps = self._whole("apply", self.inventory)
        assert self.hosts.json("plan", self.inventory)["changes"] == []
        self.new = self.hosts.capture()
        return steps

    def of_destroy(self, step: int, how: str) -> None:
        """Every host has again what it had, the very containers."""
        ids = self.hosts.everywhere("docker ps -q --no-trunc | sort")
        self._cut(step, how, "destroy", self.inventory, "--yes")
        assert self.hosts.everywhere("docker ps -q --no-trunc | sort") == ids, (step, how)
        Faults(self.hosts, self.new, ignored=(DATABASE,)).assert_restored()
        deadline = time.monotonic() + SETTLED_S
        while changes := self.hosts.json("plan", self.inventory)["changes"]:
            assert time.monotonic() < deadline, (step, how, changes)
            time.sleep(2)

    def destroy(self) -> int:
        """Take it away whole; how many steps that takes."""
        steps = self._whole("destroy", self.inventory, "--yes")
        self.faults.assert_restored()
        return steps

    def _cut(self, step: int, how: str, *words: str) -> None:
        for host in HOSTS:
            self.faults.at_step(host, step, how)
        done = self.hosts.json(*words, status=None)
        cut = [self.faults.inside(host, "ls /run/fault/done") for host in HOSTS]
        self.faults.heal()
        assert any(cut), f"no host has a step {step}"
        assert set(done["hosts"].values()) <= {"reverted (failed)", "unchanged"}, (step, how, done)

    def _whole(self, *words: str) -> int:
        for host in HOSTS:
            self.faults.at_step(host, 10_000, ":")
        self.hosts.provision(*words)
        begun = [self.faults.inside(host, "cat /run/fault/begun") for host in HOSTS]
        self.faults.heal()
        return max(int(count or 0) for count in begun)


@pytest.fixture
def crash(booted: Callable[[str], Hosts], example: str) -> Iterator[Crash]:
    with injecting(booted("mixed"), example) as found:
        yield Crash(found, example)


@pytest.mark.parametrize(
    "example",
    [one if one in SAMPLED else pytest.param(one, marks=pytest.mark.full) for one in STEPS],
)
def test_a_crash_at_some_step_is_undone(crash: Crash, example: str) -> None:
    """One of apply, and one of destroy."""
    chance = random.Random(example)
    crash.of_apply(chance.randint(1, STEPS[example]), chance.choice(HOWS))
    crash.apply()
    crash.of_destroy(chance.randint(1, STEPS[example]), chance.choice(HOWS))
    crash.destroy()


@pytest.mark.full
@pytest.mark.parametrize("example", STEPS)
def test_a_crash_at_any_step_is_undone(crash: Crash, example: str) -> None:
    """Each step, cut before it and in its midst."""
    points = [(step + 1, how) for step in range(STEPS[example]) for how in HOWS]
    for step, how in points:
        crash.of_apply(step, how)
    assert crash.apply() == STEPS[example]
    for step, how in points:
        crash.of_destroy(step, how)
    assert crash.destroy() == STEPS[example]

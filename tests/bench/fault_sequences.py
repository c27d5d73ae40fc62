"""Random sequences of changes and faults, chosen from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.lab.crash import STEPS

HOSTS = ("h1", "h2", "h3")
METHODS = ("routes", "vxlan", "pipework", "flannel-vxlan", "ovs-gre", "modes", "macvlan")
"""The examples in inventories/ that the campaign applies, in turn."""
MORE_METHODS = ("ovs-vxlan", "wireguard", "bgp")
"""Examples that it applies when asked for: a seed keeps its meaning."""
LENGTH = 5
"""Steps of a sequence."""

Weights = Mapping[str, int]
OPENING: Weights = {"apply": 5, "kill": 3, "reboot": 1, "disk": 1}
"""The kinds of a first step: each has a change, so that later faults meet something of ours."""
KINDS: Weights = {
    "apply": 5,
    "kill": 5,
    "reboot": 4,
    "flush": 2,
    "link": 2,
    "docker": 2,
    "stop": 2,
    "disk": 2,
    "drift": 3,
    "heal": 3,
    "destroy": 2,
}
"""All kinds, by how often they are chosen."""
ON_OURS = ("flush", "link", "stop", "drift", "destroy")
"""Kinds that need something of ours on the hosts."""
VARIANTS = ("A", "B")
CHANGES: Weights = {"A": 3, "B": 3, "destroy": 2}
FAULTS: dict[str, Weights] = {
    "kill": {
        "SIGKILL of the controller": 4,
        "SIGINT of the controller": 1,
        "SIGTERM of the controller": 1,
        "kill of the act before a step": 2,
        "kill of the act within a step": 2,
    },
    "reboot": {"reboot": 2, "power cut": 1},
    "flush": {"filter": 2, "nat": 1},
    "link": {"device": 2, "veth": 1},
    "docker": {"restart": 3, "SIGKILL": 1},
    "stop": {"docker": 1, "follower": 2},
    "disk": {"full before the change": 1, "full from a step on": 1},
    "drift": {"route": 2, "address": 2, "container": 2, "disconnect": 1, "container stop": 1},
}
"""The faults of a kind."""
PHASES: Weights = {"start": 2, "armed": 2, "acting": 3, "checked": 2, "confirming": 2}
"""The events after which a fault comes during a change."""
ENDINGS: Weights = {"deadline": 1, "recover": 1}
"""Who ends the change of a killed controller: the hosts' deadlines, or `provision recover`."""


@dataclass(frozen=True)
class Step:
    """One step of a sequence.

    `change`: A, B or destroy; heal for the variant that is applied; "" for a fault on its own.
    `fault` comes `delay_s` after `phase`, or at the operation `operation` (from 1) of the change.
    `choice`, from 0 to 1, selects one of the objects that a host has.
    """

    kind: str
    change: str = ""
    hosts: tuple[str, ...] = ()
    fault: str = ""
    phase: str = ""
    delay_s: float = 0.0
    operation: int = 0
    ending: str = ""
    choice: float = 0.0

    def __str__(self) -> str:
        verb = f"apply {self.change}" if self.change in VARIANTS else self.change
        if not self.fault:
            return verb
        text = f"{self.kind} ({self.fault})"
        if self.hosts:
            text += f" on {','.join(self.hosts)}"
        if self.phase:
            text += f", {self.delay_s} s after {self.phase} of {verb}"
        elif self.operation:
            text += f", operation {self.operation} of {verb}"
        elif verb:
            text += f", {verb}"
        return text + (f", ended by {self.ending}" if self.ending else "")

    @property
    def restarts_docker(self) -> bool:
        """True if Docker starts anew on the hosts of the step."""
        return self.kind in ("reboot", "docker")

    @property
    def kills_docker(self) -> bool:
        """True for a SIGKILL of dockerd.

        Docker 28.5 may leave a container exited then ("ShouldRestart failed"): that is drift.
        """
        return self.kind == "docker" and self.fault == "SIGKILL"

    @property
    def kills_controller(self) -> bool:
        """True if a signal ends the controller of the change."""
        return self.kind == "kill" and "controller" in self.fault


def choose(seed: int, method: str) -> tuple[Step, ...]:
    """The steps of one sequence, which depend on the arguments alone."""
    chance = random.Random(f"{seed} {method}")
    steps: list[Step] = []
    applied = "destroy"
    for number in range(LENGTH):
        kind = _weighted_choice(_kinds(number, applied), chance)
        # A fault needs a change that changes something, so not the one that was made last.
        changes = {name: weight for name, weight in CHANGES.items() if name != applied}
        steps.append(_step(kind, method, chance, changes, alone=number > 0))
        applied = _applied(steps[-1], applied)
    return tuple(steps)


def _kinds(number: int, applied: str) -> Weights:
    """The kinds of a step; without anything of ours, those that need it are left out."""
    if number == 0:
        return OPENING
    return {k: weight for k, weight in KINDS.items() if applied != "destroy" or k not in ON_OURS}


def _applied(step: Step, applied: str) -> str:
    """The change that hosts probably have after a step: a disturbed one is rolled back."""
    if step.fault:
        return applied
    if step.kind == "heal":
        return "A" if applied == "destroy" else applied
    return step.change


def seeds(seed: int, count: int) -> list[int]:
    """The seeds of `count` sequences of a campaign."""
    chance = random.Random(seed)
    return [chance.randrange(10**6, 10**7) for _ in range(count)]


def _weighted_choice(weights: Weights, chance: random.Random) -> str:
    (name,) = chance.choices(list(weights), list(weights.values()))
    return name


def _step(kind: str, method: str, chance: random.Random, changes: Weights, *, alone: bool) -> Step:
    """A step of a kind; `alone`: its fault may come without a change."""
    if kind == "apply":
        variants = {name: changes[name] for name in VARIANTS if name in changes}
        return Step(kind, _weighted_choice(variants, chance))
    if kind in ("destroy", "heal"):
        return Step(kind, kind)
    fault = _weighted_choice(FAULTS[kind], chance)
    if kind == "kill":
        return _kill(fault, method, chance, _weighted_choice(changes, chance))
    hosts = _hosts(chance)
    if kind in ("reboot", "docker"):
        if alone and chance.random() < 0.4:
            return Step(kind, hosts=hosts, fault=fault)
        change = _weighted_choice(changes, chance)
        phase, delay_s = _weighted_choice(PHASES, chance), _delay_s(chance)
        return Step(kind, change, hosts, fault, phase, delay_s)
    if kind == "disk":
        operation = _operation(method, chance) if "step" in fault else 0
        return Step(kind, _weighted_choice(changes, chance), hosts, fault, operation=operation)
    return Step(kind, hosts=hosts, fault=fault, choice=round(chance.random(), 3))


def _kill(fault: str, method: str, chance: random.Random, change: str) -> Step:
    if "act" in fault.split():
        operation = _operation(method, chance)
        return Step("kill", change, _hosts(chance), fault, operation=operation)
    phase, delay_s = _weighted_choice(PHASES, chance), _delay_s(chance)
    # A controller that can still act rolls its change back by itself.
    ending = _weighted_choice(ENDINGS, chance) if "SIGKILL" in fault else ""
    return Step("kill", change, (), fault, phase, delay_s, ending=ending)


def _hosts(chance: random.Random) -> tuple[str, ...]:
    """One host; in one case of four all of them."""
    return HOSTS if chance.random() < 0.25 else (chance.choice(HOSTS),)


def _delay_s(chance: random.Random) -> float:
    # Half of the faults come at once: the phases themselves are short.
    return 0.0 if chance.random() < 0.5 else round(chance.uniform(0, 2.5), 1)


def _operation(method: str, chance: random.Random) -> int:
    return chance.randint(1, STEPS.get(f"{method}.yml", 4))

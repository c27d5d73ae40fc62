"""Fake resources and hosts for tests of the engine's logic; they prove nothing about real hosts.

A `Toy` is a resource whose steps are commands of the fake program `toy`. `Hosts` is a transport
that understands these commands. With them, tests check order, strategies and failures.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, ClassVar

from provision.engine.plan import Operation
from provision.model.errors import HostError
from provision.model.inventory import Host, Inventory
from provision.resources.base import Found, Origin, Ref, Resource
from provision.resources.steps import Run, Steps
from provision.transport.base import Output

SSH = "c"
"""A toy with this label affects the SSH path."""


@dataclass(frozen=True, slots=True, repr=False)
class Toy(Resource):
    """Replaced if anything but `value` differs; `value` is updated in place unless `replaced`."""

    kind: ClassVar[str] = "toy"
    probe: ClassVar[str] = "toys"
    fingerprint: ClassVar[str] = "toys"

    label: str
    value: str = ""
    needs: tuple[Ref, ...] = ()
    replaced: bool = False
    blocked: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.label

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.label == SSH

    def is_foreign(self) -> None:
        return None

    def create(self) -> Steps:
        return (Run(("toy", "make", self.kind, self._json())),)

    def delete(self) -> Steps:
        return (Run(("toy", "drop", self.kind, self.label)),)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Toy)
        if self.replaced or (self.needs, self.replaced) != (current.needs, current.replaced):
            return None
        return (Run(("toy", "turn", self.kind, self._json())),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return f"{self.label} stops" if current is not None else None

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        return self.blocked or None

    def __repr__(self) -> str:
        return (
            f"<{self.ref}={self.value}{'!' * self.replaced} {[str(need) for need in self.needs]}>"
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # for hypothesis
        printer.text(repr(self))

    def _json(self) -> str:
        return json.dumps([self.label, self.value, self.needs, self.replaced])

    @classmethod
    def read(cls, host: str, text: str) -> Toy:
        label, value, needs, replaced = json.loads(text)
        return cls(host, label, value, tuple(Ref(*need) for need in needs), replaced)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            owner, _, rest = line.partition(" ")
            yield Found(cls.read(scope.host, rest), ours=owner == scope.inventory)


@dataclass(frozen=True, slots=True, repr=False)
class DockerToy(Toy):
    """A toy that only dockerd can remove."""

    kind: ClassVar[str] = "docked"
    uses_dockerd: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class LastToy(Toy):
    """A toy that is created last. Its kind sorts first, so that sorting alone is not enough."""

    kind: ClassVar[str] = "alast"
    runs_last: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class EarlyToy(Toy):
    """A toy that is created before any removal. Its kind sorts last."""

    kind: ClassVar[str] = "zearly"
    before_removals: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class SettingToy(Toy):
    """A toy that edits what exists without it."""

    kind: ClassVar[str] = "setting"
    edits: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class VolatileToy(Toy):
    """A toy that a reboot removes."""

    kind: ClassVar[str] = "volatile"
    volatile: ClassVar[bool] = True


KINDS: dict[str, type[Toy]] = {
    kind.kind: kind for kind in (Toy, LastToy, EarlyToy, SettingToy, VolatileToy)
}
World = dict[Ref, Resource]


def act(world: World, operation: Operation) -> None:
    """Run the steps of one operation.

    As with Docker, creating an existing toy, or changing a missing one, is an error. As in the
    kernel, a toy takes those that need it with it when it is removed.
    """
    for step in operation.steps:
        assert isinstance(step, Run)
        _do(world, operation.change.ref.host, step.argv)


def undo(world: World, operation: Operation, steps: Steps) -> None:
    """Run the steps that undo an operation: they may run twice, and may have nothing to do."""
    for step in steps:
        assert isinstance(step, Run)
        _do(world, operation.change.ref.host, step.argv, strict=False)


def _do(world: World, host: str, argv: tuple[str, ...], *, strict: bool = True) -> None:
    tool, verb, kind, text = argv
    assert tool == "toy"
    if verb == "drop":
        ref = Ref(host, kind, text)
        if strict or ref in world:
            _drop(world, ref)
        return
    toy = KINDS[kind].read(host, text)
    if verb == "make":
        assert not strict or toy.ref not in world, f"{toy.ref} is there already"
    else:
        assert not strict or toy.ref in world, f"{toy.ref} is not there"
    world[toy.ref] = toy


def _drop(world: World, ref: Ref) -> None:
    assert ref in world, f"{ref} is not there"
    del world[ref]
    for dependent, resource in list(world.items()):
        if dependent in world and ref in resource.requires():
            _drop(world, dependent)


def inventory(*hosts: str) -> Inventory:
    """An inventory of hosts only; the test defines the resources."""
    members = {h: Host(h, IPv4Address("10.78.0.11") + k) for k, h in enumerate(hosts)}
    return Inventory("demo", Path("demo.yml"), members, {}, {}, {})


HOST = """systemd yes
uid 0
tool docker
tool ip
tool iptables
tool sysctl
tool systemctl
tool base64
tool perl
docker_info {"ServerVersion":"28.5.2","LiveRestoreEnabled":false,"SecurityOptions":[]}
addresses [{"ifname":"eth1","mtu":1500,"addr_info":\
[{"family":"inet","local":"10.78.0.11","prefixlen":24}]}]
routes []"""


@dataclass
class Hosts:
    """A transport to hosts in memory, each with a guard.

    A revert restores the toys that the guard saw when it was armed; the undo steps themselves are
    tested in tests/laws. Commands are (host, verb, label).
    """

    toys: World = field(default_factory=dict)
    """Resources with our mark."""
    foreign: World = field(default_factory=dict)
    """Resources of another inventory."""
    failing: set[tuple[str, str, str]] = field(default_factory=set)
    """Commands that fail."""
    dying: set[tuple[str, str, str]] = field(default_factory=set)
    """Commands that end the script without its end marker."""
    lost: dict[str, HostError] = field(default_factory=dict)
    """The error of each unreachable host."""
    lost_after: dict[tuple[str, str], HostError] = field(default_factory=dict)
    """The error of a host that is lost after a verb, by (host, verb)."""
    ignoring: set[str] = field(default_factory=set)
    """Hosts on which commands succeed and change nothing."""
    locked: set[str] = field(default_factory=set)
    """Hosts on which another program holds the inventory's lock."""
    busy: set[str] = field(default_factory=set)
    """Hosts on which the change of another run is pending."""
    changed_by_others: dict[str, Toy] = field(default_factory=dict)
    """A toy that someone else creates on the host just before the guard is armed."""
    facts: Mapping[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    guards: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._before: dict[str, World] = {}

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert timeout_s > 0
        with self._lock:
            if host in self.lost:
                raise self.lost[host]
            verb = _verb(script)
            self.log.append((host, verb))
            try:
                output: Output = getattr(self, f"_{verb}")(host, script)
                return output
            finally:
                if (host, verb) in self.lost_after:
                    self.lost[host] = self.lost_after[host, verb]

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.sent.append((host, f"{source} {target}"))

    def close(self) -> None:
        pass

    def _arm(self, host: str, script: str) -> Output:
        if host in self.busy:
            self.guards[host] = {"state": "txn", "id": "beef", "owner": "eve@far"}
            return Output(8, self._record(host), "busy")
        match = re.search(r" arm (\w+) (\d+)", script)
        assert match is not None
        self.guards[host] = {"state": "txn", "id": match[1], "owner": "me@here"}
        if host in self.changed_by_others:
            toy = self.changed_by_others[host]
            self.toys[toy.ref] = toy
        self._before[host] = {r: v for r, v in self.toys.items() if r.host == host}
        return self._snapshot(host, script)

    def _rearm(self, host: str, script: str) -> Output:
        if self.guards[host]["state"] != "txn":
            return Output(3, self._record(host), "")
        nonce = re.search(r"@(\w+) kept", script)
        assert nonce is not None
        snapshot = self._snapshot(host, script)
        return Output(0, f"@{nonce[1]} kept {'x' * 65536}\n{snapshot.stdout}", "")

    def _confirm(self, host: str, script: str) -> Output:
        assert " confirm " in script
        if self.guards[host]["state"] == "txn":
            self.guards[host]["state"] = "confirmed"
        return Output(0, self._record(host), "")

    def _revert(self, host: str, script: str) -> Output:
        match = re.search(r" revert (\w+) (\w+)", script)
        assert match is not None
        guard = self.guards.get(host, {})
        if guard.get("id") == match[1] and guard["state"] == "txn":
            for ref in [ref for ref in self.toys if ref.host == host]:
                del self.toys[ref]
            self.toys |= self._before[host]
            guard |= {"state": "reverted", "result": "reverted", "reason": match[2]}
        return Output(0, self._record(host), "")

    def _status(self, host: str, script: str) -> Output:  # noqa: ARG002
        return Output(0, self._record(host), "")

    def _record(self, host: str) -> str:
        guard = self.guards.get(host)
        if guard is None:
            return ""
        about = json.dumps({"owner": guard["owner"], "inventory": "demo", "verb": "apply"})
        fields = ("id", "since", "deadline", "ended", "reason", "result")
        record = {"since": "1000", "deadline": "1090"} | guard
        values = [record.get(key, "") for key in fields]
        return "\t".join([f"record {guard['state']}", *values, about, "", "1010"]) + "\n"

    def _snapshot(self, host: str, script: str) -> Output:
        nonce = re.search(r"@(\w+) begin host", script)
        assert nonce is not None
        parts = []
        for section in re.findall(r"begin (\w+)\\n", script):
            text = self._section(host, section)
            parts.append(f"\n@{nonce[1]} begin {section}\n{text}\n\n@{nonce[1]} end {section} 0")
        return Output(0, "\n".join(parts) + "\n", "")

    def _section(self, host: str, section: str) -> str:
        if section == "host":
            return self.facts.get(host, HOST)
        lines = []
        for owner, world in (("demo", self.toys), ("other", self.foreign)):
            for ref, toy in sorted(world.items()):
                if (ref.host, ref.kind) == (host, section):
                    assert isinstance(toy, Toy)
                    lines.append(f"{owner} {toy._json()}")
        return "\n".join(lines)

    def _act(self, host: str, script: str) -> Output:
        if host in self.locked:
            return Output(75, "", "")
        output: list[str] = []
        number = -1
        nonce = ""
        text = re.search(r" act \w+ \d+ \w+ <<'(@\w+)'[^\n]*\n(.*?)\n\1\n", script, re.S)
        assert text is not None
        for line in text[2].splitlines():
            if match := re.match(r"mark\(\) \{ printf '\\n@(\w+) ", line):
                nonce = match[1]
            elif line.startswith("mark begin"):
                number += 1
                output.append(f"\n@{nonce} begin {number} 0 10.0")
            elif line.startswith("toy "):
                if self._failed(host, line, output):
                    output.append(f"\n@{nonce} end {number} 3 10.5")
                    return Output(1, "\n".join(output) + "\n", "")
                if self._dies(host, line):
                    return Output(255, "\n".join(output) + "\n", "")
            elif line.startswith("status=$?; mark end"):
                output.append(f"\n@{nonce} end {number} 0 10.5")
        return Output(0, "\n".join(output) + "\n", "")

    def _failed(self, host: str, line: str, output: list[str]) -> bool:
        """Run a command; True if it failed, with its message in `output`."""
        argv = tuple(shlex.split(line))
        self.log.append((host, " ".join((argv[1], _label(argv)))))
        if (host, argv[1], _label(argv)) in self.failing:
            output.append(f"toy: cannot {argv[1]} {_label(argv)}")
            return True
        if host not in self.ignoring and not self._dies(host, line):
            _do(self.toys, host, argv)
        return False

    def _dies(self, host: str, line: str) -> bool:
        argv = tuple(shlex.split(line))
        return (host, argv[1], _label(argv)) in self.dying


def _verb(script: str) -> str:
    """The guard's verb that a script is for; `snapshot` or `status` if it has none."""
    match = re.search(r"guard(?:-\w+)?\"? (arm|act|rearm|confirm|revert) [0-9a-f]", script)
    if "--unit=provision-act-" in script:
        return "act"  # a later part sets its own timer first
    if match is not None:
        return match[1]
    return "snapshot" if " begin host\\n" in script else "status"


def _label(argv: tuple[str, ...]) -> str:
    return argv[3] if argv[1] == "drop" else str(json.loads(argv[3])[0])

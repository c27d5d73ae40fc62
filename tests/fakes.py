"""Toys for the tests of the engine's own logic; they say nothing about real hosts.

A `Toy` is a resource whose steps are commands of a made-up tool, and `Hosts` is a transport that
understands just these: it proves order, strategies and what becomes of failures, no more.
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
"""A toy of this label touches the way that SSH takes."""


@dataclass(frozen=True, slots=True, repr=False)
class Toy(Resource):
    """Re-created where anything but `value` differs; `value` changes in place unless `stiff`."""

    kind: ClassVar[str] = "toy"
    probe: ClassVar[str] = "toys"
    fingerprint: ClassVar[str] = "toys"

    label: str
    value: str = ""
    needs: tuple[Ref, ...] = ()
    stiff: bool = False
    trouble: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        return self.label

    def requires(self) -> tuple[Ref, ...]:
        return self.needs

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        return self.label == SSH

    def create(self) -> Steps:
        return (Run(("toy", "make", self.kind, self._json())),)

    def delete(self) -> Steps:
        return (Run(("toy", "drop", self.kind, self.label)),)

    def update(self, current: Resource) -> Steps | None:
        assert isinstance(current, Toy)
        if self.stiff or current.needs != self.needs or current.stiff != self.stiff:
            return None
        return (Run(("toy", "turn", self.kind, self._json())),)

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        return f"{self.label} rests" if current is not None else None

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        return self.trouble or None

    def __repr__(self) -> str:
        return f"<{self.ref}={self.value}{'!' * self.stiff} {[str(need) for need in self.needs]}>"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # what hypothesis prints
        printer.text(repr(self))

    def _json(self) -> str:
        return json.dumps([self.label, self.value, self.needs, self.stiff])

    @classmethod
    def read(cls, host: str, text: str) -> Toy:
        label, value, needs, stiff = json.loads(text)
        return cls(host, label, value, tuple(Ref(*need) for need in needs), stiff)

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            owner, _, rest = line.partition(" ")
            yield Found(cls.read(scope.host, rest), ours=owner == scope.inventory)


@dataclass(frozen=True, slots=True, repr=False)
class Docked(Toy):
    kind: ClassVar[str] = "docked"
    uses_dockerd: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class Watcher(Toy):
    kind: ClassVar[str] = "awatcher"  # first in the alphabet, so that sorting alone is not enough
    runs_last: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class Herald(Toy):
    kind: ClassVar[str] = "zherald"  # last in the alphabet
    before_removals: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class Setting(Toy):
    kind: ClassVar[str] = "setting"
    edits: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, repr=False)
class Passing(Toy):
    kind: ClassVar[str] = "passing"
    volatile: ClassVar[bool] = True


KINDS: dict[str, type[Toy]] = {kind.kind: kind for kind in (Toy, Watcher, Herald, Setting, Passing)}
World = dict[Ref, Resource]


def act(world: World, operation: Operation) -> None:
    """Do the steps of one operation as strictly as Docker and as mercilessly as the kernel.

    Making what is there, and turning or dropping what is not, are errors; what stands on a thing
    that is dropped goes with it.
    """
    for step in operation.steps:
        assert isinstance(step, Run)
        _do(world, operation.change.ref.host, step.argv)


def take_back(world: World, operation: Operation, steps: Steps) -> None:
    """Do the steps that undo an operation: they can be repeated, and may find nothing to do."""
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
    for other, thing in list(world.items()):
        if other in world and ref in thing.requires():
            _drop(world, other)


def inventory(*hosts: str) -> Inventory:
    """An inventory of hosts alone; what is wanted on them is the test's word."""
    known = {h: Host(h, IPv4Address("10.78.0.11") + k) for k, h in enumerate(hosts)}
    return Inventory("demo", Path("demo.yml"), known, {}, {}, {})


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
    """A transport to hosts in memory, each with a guard that keeps its word.

    `broken` commands fail; `lost` hosts raise their error; `held` hosts are held by another run.
    What a guard undoes is what it had seen when it was armed: the undo itself is a law's matter.
    """

    toys: World = field(default_factory=dict)
    foreign: World = field(default_factory=dict)
    broken: set[tuple[str, str, str]] = field(default_factory=set)
    dying: set[tuple[str, str, str]] = field(default_factory=set)
    lost: dict[str, HostError] = field(default_factory=dict)
    lost_after: dict[tuple[str, str], HostError] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    meddled: dict[str, Toy] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    guards: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._one = threading.Lock()
        self._before: dict[str, World] = {}

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert timeout_s > 0
        with self._one:
            if host in self.lost:
                raise self.lost[host]
            what = _verb(script)
            self.log.append((host, what))
            try:
                return getattr(self, f"_{what}")(host, script)
            finally:
                if (host, what) in self.lost_after:
                    self.lost[host] = self.lost_after[host, what]

    def send(self, host: str, source: Path, target: str, *, timeout_s: float) -> None:
        assert timeout_s > 0
        self.sent.append((host, f"{source} {target}"))

    def close(self) -> None:
        pass

    def _look(self, host: str, script: str) -> Output:
        return self._looked(host, script)

    def _arm(self, host: str, script: str) -> Output:
        if host in self.held:
            self.guards[host] = {"state": "txn", "id": "beef", "owner": "eve@far"}
            return Output(8, self._record(host), "busy")
        match = re.search(r" arm (\w+) (\d+)", script)
        assert match is not None
        self.guards[host] = {"state": "txn", "id": match[1], "owner": "me@here"}
        if host in self.meddled:
            self.toys[self.meddled[host].ref] = self.meddled[host]
        self._before[host] = {r: v for r, v in self.toys.items() if r.host == host}
        return self._looked(host, script)

    def _rearm(self, host: str, script: str) -> Output:
        if self.guards[host]["state"] != "txn":
            return Output(3, self._record(host), "")
        nonce = re.search(r"@(\w+) kept", script)
        assert nonce is not None
        seen = self._looked(host, script)
        return Output(0, f"@{nonce[1]} kept {'x' * 65536}\n{seen.stdout}", "")

    def _confirm(self, host: str, script: str) -> Output:
        assert " confirm " in script
        if self.guards[host]["state"] == "txn":
            self.guards[host]["state"] = "confirmed"
        return Output(0, self._record(host), "")

    def _revert(self, host: str, script: str) -> Output:
        match = re.search(r" revert (\w+) (\w+)", script)
        assert match is not None
        held = self.guards.get(host, {})
        if held.get("id") == match[1] and held["state"] == "txn":
            for ref in [ref for ref in self.toys if ref.host == host]:
                del self.toys[ref]
            self.toys |= self._before[host]
            held |= {"state": "reverted", "result": "reverted", "reason": match[2]}
        return Output(0, self._record(host), "")

    def _status(self, host: str, script: str) -> Output:  # noqa: ARG002
        return Output(0, self._record(host), "")

    def _record(self, host: str) -> str:
        held = self.guards.get(host)
        if held is None:
            return ""
        about = json.dumps({"owner": held["owner"], "inventory": "demo", "verb": "apply"})
        fields = ("id", "since", "deadline", "ended", "reason", "result")
        known = {"since": "1000", "deadline": "1090"} | held
        words = [known.get(key, "") for key in fields]
        return "\t".join([f"record {held['state']}", *words, about, "", "1010"]) + "\n"

    def _looked(self, host: str, script: str) -> Output:
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
        for owner, things in (("demo", self.toys), ("other", self.foreign)):
            for ref, toy in sorted(things.items()):
                if (ref.host, ref.kind) == (host, section):
                    assert isinstance(toy, Toy)
                    lines.append(f"{owner} {toy._json()}")
        return "\n".join(lines)

    def _act(self, host: str, script: str) -> Output:
        if host in self.locked:
            return Output(75, "", "")
        out: list[str] = []
        number = -1
        nonce = ""
        text = re.search(r"/act\.\d+ <<'(@\w+)'[^\n]*\n(.*?)\n\1\n", script, re.S)
        assert text is not None
        for line in text[2].splitlines():
            if match := re.match(r"mark\(\) \{ printf '\\n@(\w+) ", line):
                nonce = match[1]
            elif line.startswith("mark begin"):
                number += 1
                out.append(f"\n@{nonce} begin {number} 0 10.0")
            elif line.startswith("toy "):
                if self._failed(host, line, out):
                    out.append(f"\n@{nonce} end {number} 3 10.5")
                    return Output(1, "\n".join(out) + "\n", "")
                if self._dies(host, line):
                    return Output(255, "\n".join(out) + "\n", "")
            elif line.startswith("status=$?; mark end"):
                out.append(f"\n@{nonce} end {number} 0 10.5")
        return Output(0, "\n".join(out) + "\n", "")

    def _failed(self, host: str, line: str, out: list[str]) -> bool:
        argv = tuple(shlex.split(line))
        self.log.append((host, " ".join((argv[1], _label(argv)))))
        if (host, argv[1], _label(argv)) in self.broken:
            out.append(f"toy: cannot {argv[1]} {_label(argv)}")
            return True
        if host not in self.deaf and not self._dies(host, line):
            _do(self.toys, host, argv)
        return False

    def _dies(self, host: str, line: str) -> bool:
        argv = tuple(shlex.split(line))
        return (host, argv[1], _label(argv)) in self.dying


def _verb(script: str) -> str:
    """Which of the guard's verbs a script is for; none: a look."""
    found = re.search(r"guard(?:-\w+)?\"? (arm|act|rearm|confirm|revert) [0-9a-f]", script)
    if "--unit=provision-act-" in script:
        return "act"  # a later part sets its own timer first
    if found is not None:
        return found[1]
    return "look" if " begin host\\n" in script else "status"


def _label(argv: tuple[str, ...]) -> str:
    return argv[3] if argv[1] == "drop" else str(json.loads(argv[3])[0])

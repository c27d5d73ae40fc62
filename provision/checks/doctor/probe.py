"""The question that the doctor asks each host, within the snapshot, and its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.render import program_text
from provision.resources.script import PRELUDE, quoted


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system: kibibytes and inodes, of all and free. `inodes` 0: it counts none."""

    target: str
    size: int
    free: int
    inodes: int
    free_inodes: int


@dataclass(frozen=True, slots=True)
class SysctlLine:
    """A setting in a file; `key` with dots, `value` as written."""

    file: str
    line: int
    key: str
    value: str

    @property
    def position(self) -> str:
        """`FILE:LINE`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class DropRule:
    """A rule of iptables that drops or rejects packets; `number` is its place in its chain."""

    backend: str
    table: str
    chain: str
    number: int
    packets: int
    text: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A service of systemd."""

    active: bool = False
    enabled: bool = False


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """The answer of one host.

    `clock` is its time in seconds since 1970, `read_at` that of the controller when the answer had
    come. `docker_s`: seconds that Docker took to tell its state; None: it did not answer.
    `strict`: interfaces, `all` or `default` whose rp_filter is 1. `flushes`: lines that flush all
    rules, as `FILE:LINE:TEXT`. `policies` and `rules` (their number) are those of iptables, by
    backend; `jumps` are the numbers of the rules that jump to DOCKER-USER, by backend, table and
    chain. `missing` are types of interfaces and modules that the kernel lacks. `docker_firewall` is
    Docker's firewall backend, empty before Docker 29.
    """

    clock: float = 0.0
    read_at: float = 0.0
    machine_id: str = ""
    kernel: str = ""
    system: str = ""
    docker_s: float | None = None
    disks: tuple[Disk, ...] = ()
    forwarding: bool = True
    strict: frozenset[str] = frozenset()
    sysctls: tuple[SysctlLine, ...] = ()
    sysctl_files: tuple[str, ...] = ()
    units: Mapping[str, Unit] = field(default_factory=dict)
    ufw: bool = False
    ufw_forward: str = ""
    flushes: tuple[str, ...] = ()
    dhcpcd: bool = False
    dhcpcd_conf: tuple[str, ...] = ()
    iptables: str = ""
    policies: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)
    drops: tuple[DropRule, ...] = ()
    jumps: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    no_carrier: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    docker_firewall: str = ""
    unreadable: str = ""
    """The reason why the answer could not be read; empty if it could."""


def probe() -> FactsProbe:
    """The program, for the snapshot of a host, in which Docker tells of itself anyway."""
    return FactsProbe("doctor", program_text("look/doctor.sh"), parse)


def question() -> str:
    """The program alone, for a host whose snapshot was read just now."""
    docker = program_text("look/docker_api.pl") + "docker_info();\n"
    programs = program_text("look/bounded.sh", "look/doctor.sh")
    return f"{PRELUDE}docker_program={quoted((docker,))}\n{programs}"


def parse(text: str) -> DoctorFacts:
    """Read the output of `look/doctor.sh`; what cannot be read stops no command."""
    try:
        return _parse(KeyedLines(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return DoctorFacts(unreadable=f"{type(error).__name__}: {error}")


def _parse(lines: KeyedLines) -> DoctorFacts:
    docker_ms = lines.only("docker_ms", "")
    docker = lines.decoded("docker_info", "{}")
    return DoctorFacts(
        clock=float(lines.only("now")),
        read_at=time.time(),
        machine_id=lines.only("machine_id", "").strip(),
        kernel=lines.only("kernel", ""),
        system=lines.only("system", ""),
        docker_s=int(docker_ms) / 1000 if docker_ms else None,
        disks=tuple(_disks(lines)),
        forwarding=lines.only("forwarding") == "1",
        strict=frozenset(lines.every("strict")),
        sysctls=tuple(_sysctls(lines)),
        sysctl_files=tuple(lines.every("sysctl_file")),
        units=dict(_units(lines)),
        ufw="ufw" in lines,
        ufw_forward=lines.only("ufw_forward", ""),
        flushes=lines.every("flush"),
        dhcpcd="dhcpcd" in lines,
        dhcpcd_conf=lines.every("dhcpcd_conf"),
        iptables=lines.only("iptables", ""),
        policies=dict(_by_chain(lines, "policy")),
        rules={backend: int(number) for backend, number in map(str.split, lines.every("rules"))},
        drops=tuple(_drops(lines)),
        jumps={key: int(number) for key, number in _by_chain(lines, "jump")},
        no_carrier=frozenset(lines.every("no_carrier")),
        missing=frozenset((*lines.every("no_type"), *lines.every("no_module"))),
        docker_firewall=str((docker.get("FirewallBackend") or {}).get("Driver", "")),
    )


def _disks(lines: KeyedLines) -> Iterator[Disk]:
    disks: dict[str, Disk] = {}
    for text in lines.every("disk"):
        size, free, inodes, free_inodes, target = text.split(maxsplit=4)
        # df prints `-` where a file system does not count.
        numbers = (int(number) if number.isdigit() else 0 for number in (size, free))
        counted = (int(number) if number.isdigit() else 0 for number in (inodes, free_inodes))
        disks[target] = Disk(target, *numbers, *counted)
    yield from disks.values()


def _sysctls(lines: KeyedLines) -> Iterator[SysctlLine]:
    for text in lines.every("sysctl"):
        file, number, setting = text.split(":", 2)
        key, _, value = setting.partition("=")
        # With a `/` in front, dots are those of an interface's name (sysctl.d(5)).
        name = key.strip().removeprefix("-")
        slashed = "/" in name and ("." not in name or name.index("/") < name.index("."))
        dotted = name.translate(str.maketrans("./", "/.")) if slashed else name
        yield SysctlLine(file, int(number), dotted, value.strip())


def _units(lines: KeyedLines) -> Iterator[tuple[str, Unit]]:
    properties: dict[str, str] = {}
    for text in (*lines.every("unit"), ""):
        key, _, value = text.strip().partition("=")
        if key:
            properties[key] = value
            continue
        if "Id" in properties:
            active = properties.get("ActiveState") in ("active", "reloading", "activating")
            enabled = properties.get("UnitFileState", "").startswith("enabled")
            yield properties["Id"].removesuffix(".service"), Unit(active, enabled)
        properties = {}


def _by_chain(lines: KeyedLines, key: str) -> Iterator[tuple[tuple[str, str, str], str]]:
    for text in lines.every(key):
        backend, table, chain, value = text.split()
        yield (backend, table, chain), value


def _drops(lines: KeyedLines) -> Iterator[DropRule]:
    for text in lines.every("drop"):
        backend, table, chain, number, counters, rule = text.split(" ", 5)
        if not rule.startswith("-A "):
            raise ValueError(f"no rule of iptables: {rule}")
        packets = int(counters.strip("[]").partition(":")[0])
        yield DropRule(backend, table, chain, int(number), packets, rule)

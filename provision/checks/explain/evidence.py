"""The observations of the hosts: packets, netfilter's trace, counters, and state. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from provision.checks.explain.model import Point

ANSWERS = ("reply", "reset")
"""Kinds of packets that answer a request."""


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    """Equal packets of the probe at one interface.

    `kind`: request, reply, reset, or error:TYPE:CODE:MTU:KIND for an ICMP error that quotes one.
    `direction`: in, out, or other for a frame to the MAC of someone else. `tunnel`: plain, or the
    protocol with its port and key.
    """

    space: str
    device: str
    direction: str
    kind: str
    tunnel: str
    outer: tuple[IPv4Address, IPv4Address]
    inner: tuple[IPv4Address, IPv4Address]
    size: int
    mac: str
    count: int


@dataclass(frozen=True, slots=True)
class Arp:
    """Equal ARP packets at one interface; `mac` and `sender` are those of the packet's sender."""

    space: str
    device: str
    direction: str
    kind: str
    mac: str
    sender: IPv4Address
    target: IPv4Address


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step of netfilter's trace of one packet: a rule or a policy, and its verdict.

    `family` is that of the table, as nft names it.
    """

    packet: Mapping[str, str]
    table: str
    chain: str
    handle: str
    verdict: str
    rule: str
    family: str = "ip"


@dataclass(frozen=True, slots=True)
class Growth:
    """A rule or policy of iptables whose counter grew while the probe was sent."""

    space: str
    backend: str
    table: str
    number: int
    rule: str
    packets: int


@dataclass(frozen=True, slots=True)
class Space:
    """The state of a network namespace after the probe, as `ip -j` prints it."""

    links: tuple[Mapping[str, Any], ...] = ()
    routes: tuple[Mapping[str, Any], ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()
    neighbors: tuple[Mapping[str, Any], ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    lookups: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[str, ...] = ()
    ports: tuple[Mapping[str, Any], ...] = ()
    fdb: tuple[str, ...] = ()

    def link(self, name: str) -> Mapping[str, Any] | None:
        """The interface of a name."""
        return next((link for link in self.links if link.get("ifname") == name), None)

    def neighbor(self, address: IPv4Address, device: str) -> Mapping[str, Any] | None:
        """The entry of an address in the neighbour table of an interface."""
        for entry in self.neighbors:
            if entry.get("dst") == str(address) and entry.get("dev") == device:
                return entry
        return None


@dataclass(frozen=True, slots=True)
class HostEvidence:
    """Everything that one host has told about the probe."""

    packets: tuple[CapturedPacket, ...] = ()
    arps: tuple[Arp, ...] = ()
    verdicts: tuple[TraceStep, ...] = ()
    growths: tuple[Growth, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    spaces: Mapping[str, Space] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    sysctl_files: tuple[str, ...] = ()
    nft: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def at(self, point: Point, *, size: int = 0) -> list[CapturedPacket]:
        """The packets of the probe at a point, of at least `size` bytes."""
        kinds = ANSWERS if point.reply else ("request",)
        directions = ("out",) if point.outgoing else ("in", "other")
        return [
            p for p in self.packets
            if (p.space, p.device) == (point.space, point.device)
            and p.direction in directions and p.kind in kinds and p.size >= size
        ]  # fmt: skip

    def space(self, label: str) -> Space:
        """The state of a namespace; empty if it could not be read."""
        return self.spaces.get(label, Space())


# linux/netfilter.h: NFPROTO_INET …
_FAMILIES = {"1": "inet", "2": "ip", "3": "arp", "5": "netdev", "7": "bridge", "10": "ip6"}
_PACKET = re.compile(r"^PACKET: \d+ (\S+) (.*)$")
_TRACE = re.compile(
    r"^ ?TRACE: (\d+) (\S+) ([^:\s]+):([^:\s]+):(?:rule:(0x[0-9a-f]+):|(policy):)(\S+) ?(.*)$"
)


def parse(text: str) -> HostEvidence:
    """The evidence in the output of a host's watch and state."""
    packets, arps, trace, growths, counters = [], [], [], [], {}
    problems: list[str] = []
    states: list[str] = []
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key == "frame":
            packets.append(_packet(rest.split(" ")))
        elif key == "arp":
            arps.append(_arp(rest.split(" ")))
        elif key == "trace":
            trace.append(rest)
        elif key in ("counter", "device"):
            name, _, number = rest.rpartition(" ")
            counters[name] = int(number)
        elif key in ("grown", "policy"):
            growths.append(_growth(key, rest))
        elif key == "state":
            states.append(rest)
        elif key in ("error", "lost") or line.startswith("watch failed"):
            problems.append(rest if key != "lost" else f"{rest} packets were missed")
    if "\nwatched\n" not in f"\n{text}":
        problems.append("the sniffers printed no result")
    spaces, general = _states(states)
    return HostEvidence(
        tuple(packets),
        tuple(arps),
        tuple(_verdicts(trace)),
        tuple(growths),
        counters,
        spaces,
        dict(line.partition(" ")[::2] for line in general.get("unit", ())),
        tuple(general.get("sysctl_file", ())),
        tuple(general.get("nft", ())),
        tuple(problems),
    )


def _packet(fields: list[str]) -> CapturedPacket:
    space, device, direction, kind, tunnel, a, b, c, d, size, mac, count = fields
    outer, inner = (IPv4Address(a), IPv4Address(b)), (IPv4Address(c), IPv4Address(d))
    return CapturedPacket(
        space, device, direction, kind, tunnel, outer, inner, int(size), mac, int(count)
    )  # fmt: skip


def _arp(fields: list[str]) -> Arp:
    space, device, direction, kind, mac, sender, target, _ = fields
    return Arp(space, device, direction, kind, mac, IPv4Address(sender), IPv4Address(target))


def _growth(key: str, rest: str) -> Growth:
    if key == "policy":
        space, backend, table, chain, verdict, packets = rest.split(" ")
        return Growth(space, backend, table, 0, f"-P {chain} {verdict}", int(packets))
    packets, _, space, backend, table, number, rule = rest.split(" ", 6)
    return Growth(space, backend, table, int(number), rule, int(packets))


def _verdicts(lines: list[str]) -> Iterator[TraceStep]:
    """Netfilter prints a packet's fields before its verdicts, for each table anew."""
    packets: dict[str, dict[str, str]] = {}
    for line in lines:
        if match := _PACKET.match(line):
            pairs = (field_text.partition("=") for field_text in match[2].split())
            # Of a packet in a bridge it prints bytes: its addresses are those of an earlier line.
            fields = {name: value for name, _, value in pairs}
            packets[match[1]] = fields if "SRC" in fields else packets.get(match[1], {}) | fields
        elif match := _TRACE.match(line):
            family, number, table, chain, handle, policy, verdict, rule = match.groups()
            rule = re.sub(r"^(?:ip6?tables|-[46]) -t \S+ ", "", rule.strip())
            fields = packets.get(number, {})
            name = _FAMILIES.get(family, family)
            yield TraceStep(fields, table, chain, handle or policy, verdict, rule, name)


def _states(lines: list[str]) -> tuple[dict[str, Space], dict[str, list[str]]]:
    spaces: dict[str, dict[str, Any]] = {}
    general: dict[str, list[str]] = {}
    for line in lines:
        label, _, rest = line.partition(" ")
        key, _, text = rest.partition(" ")
        if key in ("unit", "sysctl_file", "nft"):
            general.setdefault(key, []).append(text)
            continue
        space = spaces.setdefault(label, {})
        if key in ("links", "routes", "rules", "neighbors", "ports"):
            entries = json.loads(text or "[]")
            space[key] = tuple(named(entry) for entry in entries if entry)
        elif key in ("sysctl", "lookup"):
            name, _, value = text.partition(" ")
            space.setdefault(f"{key}s", {})[name] = value
        elif key == "listener":
            space.setdefault("listeners", []).append(text)
        elif key == "fdb":
            space.setdefault("fdb", []).append(text)
    built = {label: Space(**_frozen(parts)) for label, parts in spaces.items()}
    return built, general


_TABLES = {"255": "local", "254": "main", "253": "default"}
# Types of routes in linux/rtnetlink.h; `ip -N` prints their numbers.
_TYPES = {
    "1": "unicast", "2": "local", "3": "broadcast", "5": "multicast", "6": "blackhole",
    "7": "unreachable", "8": "prohibit", "9": "throw",
}  # fmt: skip
_NAMES = {"table": _TABLES, "type": _TYPES, "action": _TYPES}


def named(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with names for the kernel's own numbers; other tables keep their numbers."""
    numbers = {key: str(entry[key]) for key in _NAMES if key in entry}
    return entry | {key: _NAMES[key].get(number, number) for key, number in numbers.items()}


def _frozen(parts: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(part) if isinstance(part, list) else part for key, part in parts.items()}

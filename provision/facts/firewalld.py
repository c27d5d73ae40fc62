"""The zones of firewalld, as its D-Bus interface prints them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from provision.facts.lines import KeyedLines
from provision.model.needs import Inbound, Need, Transit

DOCKER = "docker"
"""The zone that Docker makes for its bridges, since 20.10."""
_DOCKER_POLICY = "docker-forwarding"
"""The policy of Docker 28.5 that lets every zone send to its bridges."""


@dataclass(frozen=True, slots=True)
class Zone:
    """What a zone holds at runtime; `ports` are (protocol, first, last)."""

    interfaces: tuple[str, ...]
    sources: tuple[str, ...]
    target: str
    ports: tuple[tuple[str, int, int], ...]
    protocols: tuple[str, ...]
    rich_rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Firewalld:
    """The zones by name, the default zone and the names of policies."""

    default: str
    zones: Mapping[str, Zone]
    policies: frozenset[str]

    def zone_of(self, nic: str, source: IPv4Network) -> str:
        """The zone of packets from `source` by `nic`: sources come before interfaces."""
        for name, zone in self.zones.items():
            if any(source.subnet_of(network) for network in _networks(zone.sources)):
                return name
        by_nic = (name for name, zone in self.zones.items() if nic in zone.interfaces)
        return next(by_nic, self.default)

    def passes(self, need: Need) -> bool:
        """True if such packets are let through."""
        name = self.zone_of(need.nic, need.source)
        zone = self.zones.get(name)
        if zone is None or zone.target == "ACCEPT":
            return zone is not None
        if isinstance(need, Transit):
            return _DOCKER_POLICY in self.policies
        return _opens(zone, need)

    def has_bridge(self, bridge: str) -> bool:
        """True if the zone of Docker has this bridge: it has not if firewalld started later."""
        return DOCKER in self.zones and bridge in self.zones[DOCKER].interfaces


def rich_rule(inbound: Inbound, port: int | None) -> str:
    """The rich rule that lets such packets in, in the form that firewalld prints."""
    match = f'protocol value="{inbound.protocol}"'
    if port is not None:
        match = f'port port="{port}" protocol="{inbound.protocol}"'
    return f'rule family="ipv4" source address="{inbound.source}" {match} accept'


def _opens(zone: Zone, need: Inbound) -> bool:
    if not need.ports:
        rule = rich_rule(need, None)
        return need.protocol in zone.protocols or rule in zone.rich_rules
    return all(_opens_port(zone, need, port) for port in need.ports)


def _opens_port(zone: Zone, need: Inbound, port: int) -> bool:
    if any(p == need.protocol and low <= port <= high for p, low, high in zone.ports):
        return True
    return any(_accepts(rule, need, port) for rule in zone.rich_rules)


_ACCEPT = re.compile(
    r'rule(?: family="ipv4")?(?: source address="([\d./]+)")?'
    r' port port="(\d+)(?:-(\d+))?" protocol="(\w+)" accept'
)


def _accepts(rule: str, need: Inbound, port: int) -> bool:
    match = _ACCEPT.fullmatch(rule)
    if match is None:
        return False
    source, low, high, protocol = match.groups()
    inside = source is None or need.source.subnet_of(IPv4Network(source, strict=False))
    return inside and protocol == need.protocol and int(low) <= port <= int(high or low)


def _networks(sources: tuple[str, ...]) -> Iterator[IPv4Network]:
    for source in sources:
        try:
            yield IPv4Network(source, strict=False)
        except ValueError:
            continue  # a MAC address, an ipset, or IPv6


def parse(lines: KeyedLines) -> Firewalld | None:
    """Read the lines of look/firewall.sh; None where firewalld does not run or answer."""
    active = lines.only("firewalld_active", "")
    if not active:
        return None
    members = json.loads(active)["data"][0]
    services = dict(_named(lines, "firewalld_service"))
    zones = {
        name: _zone(members.get(name, {}), settings, services)
        for name, settings in _named(lines, "firewalld_zone")
    }
    policies = frozenset(json.loads(lines.only("firewalld_policies") or '{"data":[[]]}')["data"][0])
    return Firewalld(json.loads(lines.only("firewalld_default"))["data"][0], zones, policies)


def _named(lines: KeyedLines, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in lines.every(key):
        name, _, text = line.partition(" ")
        if text:
            yield name, json.loads(text)["data"][0]


def _zone(
    members: Mapping[str, Any], settings: Mapping[str, Any], services: Mapping[str, Any]
) -> Zone:
    ports = [*_value(settings, "ports")]
    for service in _value(settings, "services"):
        ports += _value(services.get(service, {}), "ports")
    return Zone(
        tuple(members.get("interfaces", ())),
        tuple(members.get("sources", ())),
        str(_value(settings, "target")),
        tuple(_port(*port) for port in ports),
        tuple(_value(settings, "protocols")),
        tuple(_value(settings, "rules_str")),
    )


def _value(settings: Mapping[str, Any], key: str) -> Any:
    # D-Bus leaves out what is empty.
    return settings[key]["data"] if key in settings else ()


def _port(numbers: str, protocol: str) -> tuple[str, int, int]:
    low, _, high = numbers.partition("-")
    return protocol, int(low or 0), int(high or low or 65535)

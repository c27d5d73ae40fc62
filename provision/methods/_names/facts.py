"""Facts of a host that networks with names need: addresses of containers, and records. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from provision.facts.probe import FactsProbe
from provision.model.names import STASHED
from provision.resources.base import keyed_lines
from provision.resources.kinds.dns_records import FOLDER, HOSTS_FILE, DnsRow, rows
from provision.resources.kinds.docker_network import LABEL
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC, Mark

_SCRIPT = f"""
files {ETC}/"$name"/{FOLDER}/*{HOSTS_FILE}
[ "$docker" != yes ] || shared containers
"""
Addresses = Mapping[str, IPv4Address]


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What a host knows about the addresses of containers.

    By network: `marked` are the addresses of its containers with our mark, by name; `unmarked`
    those of its other containers; `records` those that its DNS server answers, by the first name.
    """

    marked: Mapping[str, Addresses] = field(default_factory=dict)
    unmarked: Mapping[str, frozenset[IPv4Address]] = field(default_factory=dict)
    records: Mapping[str, Addresses] = field(default_factory=dict)


def probe(inventory: str) -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("name_facts", _SCRIPT, _Parser(inventory))


@dataclass(frozen=True, slots=True)
class _Parser:
    """The parser of the probe; two of one inventory are equal, so that a host is asked once."""

    inventory: str

    def __call__(self, text: str) -> NameFacts:
        marked: dict[str, dict[str, IPv4Address]] = {}
        unmarked: dict[str, set[IPv4Address]] = {}
        for network, container, address, mark in _endpoints(text):
            if mark == Mark(self.inventory, network):
                marked.setdefault(network, {})[container] = address
            else:
                unmarked.setdefault(network, set()).add(address)
        records = {network: _addresses(known) for network, known in _records(text)}
        frozen = {network: frozenset(held) for network, held in unmarked.items()}
        return NameFacts(marked, frozen, records)


def _endpoints(text: str) -> Iterator[tuple[str, str, IPv4Address, Mark]]:
    """Yield network, container, address and mark of each endpoint; a stopped one may have none."""
    for key, rest in keyed_lines(text):
        for entry in json.loads(rest) if key == "containers" else ():
            name = min(entry["Names"] or [entry["Id"]], key=len).removeprefix("/")
            if STASHED.search(name):
                continue
            mark = Mark.parse((entry["Labels"] or {}).get(LABEL, ""))
            for network, endpoint in (entry["NetworkSettings"]["Networks"] or {}).items():
                if address := _address(endpoint):
                    yield network, name, IPv4Address(address), mark


def _address(endpoint: dict[str, Any]) -> str:
    """The address of an endpoint, else the fixed one that it gets when its container starts."""
    fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
    return endpoint.get("IPAddress") or fixed or ""


def _records(text: str) -> Iterator[tuple[str, tuple[DnsRow, ...]]]:
    for line in text.splitlines():
        if f" {ETC}/" in line and not line.startswith("containers "):
            _, encoded, path = line.split(" ", 2)
            network = path.rsplit("/", 1)[1].removesuffix(HOSTS_FILE)
            yield network, rows(decode_text(encoded))


def _addresses(known: tuple[DnsRow, ...]) -> dict[str, IPv4Address]:
    return {row.key: row.address for row in known}

"""Facts of a host that networks with names need: the records that it answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from provision.facts.probe import FactsProbe
from provision.resources.kinds.dns_records import FOLDER, HOSTS_FILE, DnsRow, rows
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC

_SCRIPT = f"""
files {ETC}/"$name"/{FOLDER}/*{HOSTS_FILE}
"""
Addresses = Mapping[str, IPv4Address]


@dataclass(frozen=True, slots=True)
class NameFacts:
    """The addresses that a host's DNS servers answer, by network and first name."""

    records: Mapping[str, Addresses] = field(default_factory=dict)


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("name_facts", _SCRIPT, _parse)


def _parse(text: str) -> NameFacts:
    return NameFacts({network: _addresses(known) for network, known in _records(text)})


def _records(text: str) -> Iterator[tuple[str, tuple[DnsRow, ...]]]:
    for line in text.splitlines():
        if f" {ETC}/" in line:
            _, encoded, path = line.split(" ", 2)
            network = path.rsplit("/", 1)[1].removesuffix(HOSTS_FILE)
            yield network, rows(decode_text(encoded))


def _addresses(known: tuple[DnsRow, ...]) -> dict[str, IPv4Address]:
    return {row.key: row.address for row in known}

"""Facts of a host that `wireguard` networks need: its implementation and the keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.resources.lib import wireguard_conf as conf
from provision.resources.lib.base64_text import decode_text
from provision.resources.render import program_text


@dataclass(frozen=True, slots=True)
class WireguardFacts:
    """What a host can do, and the keys that it knows.

    `kernel`: it has the kernel's module. `tun`: it has the device that wireguard-go needs. `keys`
    are its own public keys by network, `peers` those of its peers by network and host. `ports` are
    the UDP ports of all its WireGuard devices, by device, and `running` their public keys.
    `secrets` are fingerprints of the secrets from which the controller has made preshared keys, by
    network.
    """

    kernel: bool = False
    tun: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)
    peers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    running: Mapping[str, str] = field(default_factory=dict)


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("wireguard_facts", program_text("look/wireguard_facts.sh"), _parse)


def _parse(text: str) -> WireguardFacts:
    lines = KeyedLines(text)
    return WireguardFacts(
        lines.only("kernel", "") == "yes",
        lines.only("tun", "") == "yes",
        dict(_pairs(line, " ") for line in lines.every("key")),
        dict(_known(lines)),
        {device: int(port) for device, port in (_pairs(p, "\t") for p in lines.every("port"))},
        dict(_pairs(line, " ") for line in lines.every("secret")),
        dict(_pairs(line, "\t") for line in lines.every("running")),
    )


def _pairs(line: str, separator: str) -> tuple[str, str]:
    first, _, second = line.partition(separator)
    return first, second


def _known(lines: KeyedLines) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The public keys in the files of peers."""
    for line in lines.every("file"):
        _, encoded, path = line.split(" ", 2)
        network = path.rsplit("/", 1)[1].removesuffix(".conf")
        try:
            yield network, {p.host: p.public for p in conf.peers(decode_text(encoded))}
        except ValueError:
            continue  # somebody has edited the file, which is drift

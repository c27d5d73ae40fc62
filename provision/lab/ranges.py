"""The lab's two address ranges. Pure: reads the words, compares with what the machine has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from provision.model.errors import LabError, UsageError


@dataclass(frozen=True, slots=True)
class Ranges:
    """For SSH (`management`) and for the containers' traffic (`data`); the machine is .254."""

    management: IPv4Network
    data: IPv4Network

    @property
    def both(self) -> tuple[IPv4Network, IPv4Network]:
        return self.management, self.data

    def __str__(self) -> str:
        return f"{self.management},{self.data}"


DEFAULT = Ranges(IPv4Network("10.77.0.0/24"), IPv4Network("10.78.0.0/24"))


def ranges(text: str) -> Ranges:
    """What `--ranges` says. Raises UsageError."""
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2:
        raise UsageError(f"--ranges {text}: two ranges are needed", f"such as {DEFAULT}")
    management, data = (_network(word) for word in words)
    if management.overlaps(data):
        raise UsageError(f"--ranges {text}: the two overlap", f"such as {DEFAULT}")
    return Ranges(management, data)


def _network(word: str) -> IPv4Network:
    try:
        network = IPv4Network(word)
    except ValueError as error:
        raise UsageError(f"--ranges: {error}", f"such as {DEFAULT}") from error
    if network.prefixlen != 24 or not network.is_private or network.is_loopback:
        raise UsageError(f"--ranges: {word} is not a private /24", f"such as {DEFAULT}")
    return network


def refuse_taken(
    wanted: Ranges, links: Sequence[dict[str, Any]], routes: Sequence[dict[str, Any]]
) -> None:
    """Raise LabError when the machine uses a range; reads `ip -j address` and `ip -j route`."""
    for found, owner in (*_addresses(links), *_routes(routes)):
        for network in wanted.both:
            if network.overlaps(found):
                raise LabError(
                    f"{network} is taken on this machine: {found} is {owner}",
                    "choose others: provision lab up --ranges 10.87.0.0/24,10.88.0.0/24",
                )


def _addresses(links: Sequence[dict[str, Any]]) -> Iterator[tuple[IPv4Network, str]]:
    for link in links:
        for entry in link.get("addr_info", ()):
            if entry.get("family") == "inet":
                # Of a point-to-point address only the address itself is used.
                length = 32 if "address" in entry else entry["prefixlen"]
                network = IPv4Network(f"{entry['local']}/{length}", strict=False)
                yield network, f"the network of {link['ifname']} ({entry['local']})"


def _routes(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[IPv4Network, str]]:
    for entry in entries:
        network = IPv4Network("0.0.0.0/0" if entry["dst"] == "default" else entry["dst"])
        # Half of all addresses is how a VPN writes a default route: it leaves room.
        if network.prefixlen > 1:
            yield network, f"a route dev {entry.get('dev', '(none)')}"

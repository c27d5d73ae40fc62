"""The lab's two address ranges: parse `--ranges`, compare with this machine's networks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from provision.model.errors import LabError, UsageError


@dataclass(frozen=True, slots=True)
class Ranges:
    """`management` for SSH, `data` for the containers' traffic; this machine has .254 in both."""

    management: IPv4Network
    data: IPv4Network

    @property
    def both(self) -> tuple[IPv4Network, IPv4Network]:
        return self.management, self.data

    def __str__(self) -> str:
        return f"{self.management},{self.data}"


DEFAULT = Ranges(IPv4Network("10.77.0.0/24"), IPv4Network("10.78.0.0/24"))
_EXAMPLE = f"for example --ranges {DEFAULT}"


def ranges(text: str) -> Ranges:
    """Parse the value of `--ranges`. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--ranges {text}: two ranges are needed", _EXAMPLE)
    management, data = (_network(part) for part in parts)
    if management.overlaps(data):
        raise UsageError(f"--ranges {text}: the two ranges overlap", _EXAMPLE)
    return Ranges(management, data)


def _network(text: str) -> IPv4Network:
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise UsageError(f"--ranges: {error}", _EXAMPLE) from error
    if network.prefixlen != 24 or not network.is_private or network.is_loopback:
        raise UsageError(f"--ranges: {text} is not a private /24", _EXAMPLE)
    return network


def refuse_used(
    wanted: Ranges, links: Sequence[dict[str, Any]], routes: Sequence[dict[str, Any]]
) -> None:
    """Raise LabError when this machine uses a range.

    `links` and `routes` are the output of `ip -j address` and `ip -j route`.
    """
    for used, user in (*_addresses(links), *_routes(routes)):
        for network in wanted.both:
            if network.overlaps(used):
                raise LabError(
                    f"{network} is in use on this machine: {used} is {user}",
                    "choose other ranges: provision lab up --ranges 10.87.0.0/24,10.88.0.0/24",
                )


def _addresses(links: Sequence[dict[str, Any]]) -> Iterator[tuple[IPv4Network, str]]:
    for link in links:
        for entry in link.get("addr_info", ()):
            if entry.get("family") == "inet":
                # A point-to-point address (`address` is its peer) occupies no network.
                length = 32 if "address" in entry else entry["prefixlen"]
                network = IPv4Network(f"{entry['local']}/{length}", strict=False)
                yield network, f"the network of {link['ifname']} ({entry['local']})"


def _routes(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[IPv4Network, str]]:
    for entry in entries:
        network = IPv4Network("0.0.0.0/0" if entry["dst"] == "default" else entry["dst"])
        # A default route does not occupy a range. OpenVPN and WireGuard split theirs into two
        # routes of /1, so that the original default route stays.
        if network.prefixlen > 1:
            yield network, f"a route dev {entry.get('dev', '(none)')}"

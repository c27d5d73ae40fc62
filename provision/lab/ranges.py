"""The lab's two address ranges: parse `--ranges`, compare with this machine's networks. Pure."""

from __future__ import annotations

import shlex
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
    wanted: Ranges,
    links: Sequence[dict[str, Any]],
    routes: Sequence[dict[str, Any]],
    command: Sequence[str] = ("provision", "lab", "up"),
) -> None:
    """Raise LabError when this machine uses a range.

    `links` and `routes` are the output of `ip -j address` and `ip -j route`. `command` is the
    command line without `--ranges`, which the hint completes.
    """
    in_use = (*_addresses(links), *_routes(routes))
    for used, user in in_use:
        for network in wanted.both:
            if network.overlaps(used):
                free = _free([network for network, _ in in_use])
                raise LabError(
                    f"{network} is in use on this machine: {used} is {user}",
                    f"choose other ranges: {shlex.join((*command, '--ranges', str(free)))}",
                )


def _free(used: Sequence[IPv4Network]) -> Ranges:
    """Ranges that overlap none of the networks, if there are any."""
    candidates = [
        Ranges(IPv4Network(f"10.{second}.0.0/24"), IPv4Network(f"10.{second + 1}.0.0/24"))
        for second in (*range(87, 254, 10), *range(7, 87, 10))
    ]
    return next(
        (
            pair
            for pair in candidates
            if not any(network.overlaps(other) for network in pair.both for other in used)
        ),
        candidates[0],
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

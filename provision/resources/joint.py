"""Changes that hosts of a network have to make together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

NEW_KEY = "would not learn its new key"


@dataclass(frozen=True, slots=True)
class JointChange:
    """A change that hosts of `network` keep together, or none does.

    `effect` is what becomes of a host that does not make it: "would not learn its new key".
    `gateways` are those of the hosts that have to make it, None for all hosts of the network.
    """

    network: str
    effect: str
    gateways: frozenset[IPv4Address] | None = None

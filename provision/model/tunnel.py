"""The encapsulation of packets between hosts, which `verify` checks on the wire. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The protocol around packets of containers: `gre`, `vxlan`, or `udp` around plain IP packets.

    `port`: the UDP port of `vxlan` and `udp`.
    `direct`: packets go from the sender's host to the receiver's; if False, a host may relay them.
    `optional`: hosts on a shared link may send packets without the tunnel.
    """

    protocol: Literal["gre", "vxlan", "udp"]
    port: int = 0
    direct: bool = True
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.protocol} (port {self.port})" if self.port else self.protocol

"""The encapsulation of packets between hosts, which `verify` checks on the wire. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The protocol around packets of containers: `gre`, `vxlan`, `udp` around plain IP packets, or
    `wireguard`, which encrypts them.

    `port`: the UDP port of all but `gre`.
    `direct`: packets go from the sender's host to the receiver's; if False, a host may relay them.
    `optional`: hosts on a shared link may send packets without the tunnel.
    `nat_ports`: further UDP ports, by which a router leads to a host.
    """

    protocol: Literal["gre", "vxlan", "udp", "wireguard"]
    port: int = 0
    direct: bool = True
    optional: bool = False
    nat_ports: tuple[int, ...] = ()

    @property
    def encrypted(self) -> bool:
        """True if nobody between the hosts can read the packets inside."""
        return self.protocol == "wireguard"

    @property
    def every_port(self) -> tuple[int, ...]:
        """The UDP ports at which its packets arrive."""
        return (self.port, *self.nat_ports)

    def __str__(self) -> str:
        return f"{self.protocol} (port {self.port})" if self.port else self.protocol

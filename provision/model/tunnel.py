"""How packets travel between hosts: said by a method, proven by `verify`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What packets are wrapped in: `gre`, `vxlan`, or `udp` around bare IP, with UDP's port.

    `direct`: from the sender's host to the receiver's; else another host may relay them.
    `optional`: hosts on one link may send packets as they are.
    """

    protocol: Literal["gre", "vxlan", "udp"]
    port: int = 0
    direct: bool = True
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.protocol} (port {self.port})" if self.port else self.protocol

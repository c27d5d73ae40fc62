"""What a network needs of the firewalls of a host. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network


@dataclass(frozen=True, slots=True, order=True)
class Inbound:
    """Packets of `protocol` to the host itself, from `source` and by the interface `nic`.

    `ports` are ports of the host; `gre` has none.
    """

    protocol: str
    ports: tuple[int, ...]
    source: IPv4Network
    nic: str

    def __str__(self) -> str:
        ports = f" {', '.join(map(str, self.ports))}" if self.ports else ""
        return f"{self.protocol.upper()}{ports} from {self.source} on {self.nic}"


@dataclass(frozen=True, slots=True, order=True)
class Transit:
    """Packets from `source` that come in by `nic` and that the host forwards to `bridge`.

    `exists` is False if Docker has not made the bridge yet.
    """

    source: IPv4Network
    target: IPv4Network
    nic: str
    bridge: str
    exists: bool = True

    @property
    def back(self) -> Transit:
        """The packets of the other direction, which the host's containers send."""
        return Transit(self.target, self.source, self.bridge, self.nic)

    def __str__(self) -> str:
        return f"packets from {self.source} on {self.nic} to {self.target} on {self.bridge}"


Need = Inbound | Transit

"""Entries of the forwarding database (FDB) of a VXLAN device: read, shared and made. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address

from provision.model.ipv4 import ipv4_address
from provision.resources.lib.shared_json import decode

ANY = "00:00:00:00:00:00"
"""The MAC of the FDB's default entries: for broadcasts, and for MACs without an entry."""
# ANY has one entry a peer: `replace` would leave only the last one. `self` is the FDB of the
# device, not that of the bridge whose port it is. A permanent neighbour is neither asked for its
# MAC by ARP nor forgotten.
ADD_FORWARDS = f"""
entries=$(cat)
echo "$entries" | while read -r peer mac _; do
  verb=replace; [ -n "$mac" ] || verb=append
  echo "fdb $verb ${{mac:-{ANY}}} dev $1 dst $peer self permanent"
done | bridge -batch - || exit
echo "$entries" | while read -r _ mac neighbour; do
  [ -z "$neighbour" ] || echo "neighbour replace $neighbour lladdr $mac dev $1 nud permanent"
done | ip -4 -batch -
"""


@dataclass(frozen=True, slots=True)
class Forward:
    """An FDB entry: frames to `mac` go to the VTEP of the host `peer`.

    `neighbour` is the IP address of that MAC in the tunnel; None if ARP finds it.
    """

    mac: str
    peer: IPv4Address
    neighbour: IPv4Address | None = None
    order: tuple[str, int] = field(init=False, compare=False, repr=False)
    """What entries are sorted by."""
    line: str = field(init=False, compare=False, repr=False)
    """The entry as `ADD_FORWARDS` reads it."""

    def __post_init__(self) -> None:
        fields = (self.peer,) if self.mac == ANY else (self.peer, self.mac, self.neighbour or "")
        object.__setattr__(self, "order", (self.mac, int(self.peer)))
        object.__setattr__(self, "line", f"{' '.join(map(str, fields))}\n")

    @property
    def key(self) -> str:
        """The entry: it has no value that could change."""
        return str(self)

    @property
    def value(self) -> str:
        """Nothing."""
        return ""

    def __str__(self) -> str:
        destination = "everybody" if self.mac == ANY else f"{self.mac} ({self.neighbour})"
        return f"{destination} at {self.peer}"


@lru_cache(1 << 16)
def forward(mac: str, peer: str, neighbour: str = "") -> Forward:
    """The entry of these texts, for which the hosts of a fleet share one object."""
    return Forward(mac, ipv4_address(peer), ipv4_address(neighbour) if neighbour else None)


def permanent_neighbours(answers: Iterable[str]) -> dict[str, str]:
    """Addresses by MAC, from `ip -j neighbour show … nud permanent`."""
    entries = [entry for answer in answers for entry in decode(answer)]
    return {entry["lladdr"]: entry["dst"] for entry in entries}


def static_forwards(lines: Iterable[str], neighbours: dict[str, str]) -> Iterator[Forward]:
    """The static entries among the lines of `bridge fdb show`."""
    for static in filter(None, map(_static_entry, lines)):
        mac, peer = static
        yield forward(mac, peer, neighbours.get(mac, ""))


@lru_cache(1 << 16)
def _static_entry(line: str) -> tuple[str, str] | None:
    """MAC and peer of a line `MAC dst ADDRESS … permanent`; None of other entries.

    Learned entries are not permanent; those of the bridge have no `dst`.
    """
    tokens = line.split()
    if "permanent" not in tokens or "dst" not in tokens:
        return None
    return tokens[0], tokens[tokens.index("dst") + 1]

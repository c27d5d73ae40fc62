"""What NICs were before they became ports, as the hosts keep it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from provision.resources.lib.base64_text import plain


@dataclass(frozen=True, slots=True)
class OriginalNic:
    """What a NIC was before it became a port: what its bridge takes over and gives back.

    `defaults` are the host's default routes by other NICs, `dns` its lines of resolv.conf: both are
    to stay. `seat`: the host's veth, its other end and its MAC, where it has one. `switch`: the
    datapath of Open vSwitch, empty where the bridge is the kernel's. `ssh`: we come in by this NIC;
    `peer`: somebody behind it.
    """

    nic: str
    mac: str
    mtu: int
    network: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    defaults: tuple[str, ...]
    dns: tuple[str, ...]
    seat: str = field(default="", compare=False)
    switch: str = ""
    ssh: bool = False
    peer: str = ""

    @property
    def text(self) -> str:
        """As it is recorded on the host."""
        words = {key: getattr(self, key) for key in _KEPT}
        return json.dumps(words, indent=1) + "\n"


_LISTS = ("addresses", "routes", "defaults", "dns")
_KEPT = ("nic", "mac", "mtu", "network", *_LISTS, "seat", "switch", "ssh", "peer")


def first(text: str) -> OriginalNic:
    """A record. Raises ValueError."""
    words = json.loads(text)
    for key in _LISTS:
        words[key] = tuple(words.get(key, ()))
    return OriginalNic(**{key: words[key] for key in _KEPT if key in words})


def records(lines: Iterable[tuple[str, str]]) -> dict[str, OriginalNic]:
    """What this inventory has recorded of NICs that it moved, by bridge."""
    words = [rest.partition(" ")[::2] for key, rest in lines if key == "was"]
    return {bridge: first(plain(encoded)) for bridge, encoded in words}

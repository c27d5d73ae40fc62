"""The VLANs of the ports of Linux bridges, from `bridge -j vlan show`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DEFAULT_VLAN = 1
"""The VLAN of every port of a Linux bridge to which no other one was assigned."""

Entries = Iterable[Mapping[str, Any]]
"""The VLANs of a port, as they are printed."""
Ports = Mapping[str, Entries]


def by_port(printed: Iterable[Mapping[str, Any]]) -> Ports:
    """The VLANs of each port and bridge; iproute2 leaves out a port without any."""
    return {str(port["ifname"]): list(port.get("vlans", ())) for port in printed}


def untagged(entries: Entries) -> int:
    """The VLAN of frames without a tag, to and from a port; 0: the bridge drops these frames."""
    for entry in entries:
        if {"PVID", "Egress Untagged"} <= set(entry.get("flags", ())):
            return int(entry["vlan"])
    return 0


def tagged(entries: Entries) -> tuple[int, ...]:
    """The other VLANs of a port whose untagged frames are in the default one."""
    vlans = (int(entry["vlan"]) for entry in entries)
    return tuple(sorted(vlan for vlan in vlans if vlan != DEFAULT_VLAN))

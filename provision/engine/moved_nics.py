"""Warnings about networks of other inventories whose NIC a change moves to a bridge, or back. Pure.

Their routes follow the addresses: the change takes them along, and their follower makes them where
the address is. Their firewall rules and their Docker networks name an interface, and only an apply
of their file changes that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from provision.engine.plan import Change
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory
from provision.model.text import listed
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.on_hosts import MARK

_INTERFACE = re.compile(r" -[io] (\S+)")
_MARK = re.compile(rf'--comment "?{MARK}([^" /]+)/([^" ]+)')


def warnings(
    inventory: Inventory, facts: Mapping[str, HostFacts], changes: Iterable[Change]
) -> Iterator[str]:
    """Yield a line for each interface that loses addresses, and networks that name it."""
    moves: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for change in changes:
        host, interface = change.ref.host, _interface_left(change)
        for name, networks in _networks_on(facts[host].firewall.table, interface).items():
            if name != inventory.name:
                moves.setdefault((interface, name, tuple(networks)), []).append(host)
    for (interface, name, marked), names in moves.items():
        noun = "network" if len(marked) == 1 else "networks"
        yield (
            f"{listed(tuple(names))}: addresses leave {interface}, which firewall rules of "
            f"inventory '{name}' name ({noun} {listed(marked)}): "
            f"apply the file of '{name}' again afterwards"
        )


def _interface_left(change: Change) -> str:
    """The interface that a change takes addresses from; empty for any other change."""
    match change.after, change.before:
        case LanBridge() as bridge, None:
            return bridge.nic
        case OvsUplink() as uplink, _ if change.verb == "create" or change.adopts:
            return uplink.nic
        case None, LanBridge() as bridge:
            return bridge.host_link
        case None, OvsUplink() as uplink:
            return uplink.address_holder
    return ""


def _networks_on(table: str, interface: str) -> dict[str, list[str]]:
    """The networks whose rules in the table `filter` name an interface, by inventory."""
    networks: dict[str, dict[str, None]] = {}
    for line in table.splitlines() if interface else ():
        if interface in _INTERFACE.findall(line) and (mark := _MARK.search(line)):
            networks.setdefault(mark[1], {})[mark[2]] = None
    return {name: sorted(entries) for name, entries in networks.items()}

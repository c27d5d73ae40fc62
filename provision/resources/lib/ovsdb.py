"""The reading of what `ovs-vsctl -f json list` printed of bridges, ports and interfaces. Pure.

A probe prints one line a table: `ovs_bridges JSON` and so on, see templates/look/shared.sh.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VSCTL = ("ovs-vsctl", "-t", "30")
"""The command. It gives up after 30 s when ovs-vswitchd does not apply the change."""

TABLES = ("ovs_bridges", "ovs_ports", "ovs_interfaces")
NIC, INNER, MARK = "provision-nic", "provision-inner", "provision"
"""Keys of external_ids: the NIC whose addresses a bridge holds, a veth's other end, the mark."""

NIC_BRIDGE = "phy-"
"""The name of the bridge for a NIC begins so; the NIC's name follows."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A port with one interface; `error` is why it does not work, empty if it does.

    `tag` is its VLAN, 0 if it carries all of them.
    """

    name: str
    bridge: str
    type: str
    options: Mapping[str, str]
    protected: bool
    ids: Mapping[str, str]
    error: str
    tag: int = 0


def bridges(text: str) -> list[Row]:
    """Every bridge."""
    return _rows(text, "ovs_bridges")


def ports(text: str) -> Iterator[OvsPort]:
    """Every port of every bridge, except the bridge's own and bonds."""
    rows = {row["_uuid"]: row for row in _rows(text, "ovs_ports")}
    interfaces = {row["_uuid"]: row for row in _rows(text, "ovs_interfaces")}
    for bridge in bridges(text):
        for port in (rows[uuid] for uuid in _list(bridge["ports"])):
            members = [interfaces[uuid] for uuid in _list(port["interfaces"]) if uuid in interfaces]
            if port["name"] != bridge["name"] and len(members) == 1:
                yield _port(bridge["name"], port, members[0])


def bridge_by_port(text: str) -> dict[str, str]:
    """The bridge of every port; a bridge's own device is a port of it, too."""
    own_ports = {str(row["name"]): str(row["name"]) for row in bridges(text)}
    return {port.name: port.bridge for port in ports(text)} | own_ports


def _port(bridge: str, port: Row, interface: Row) -> OvsPort:
    error = str(interface["error"] or "")
    # Interface.ofport is -1 when ovs-vswitchd could not add it: ovs-vswitchd.conf.db(5).
    if not error and (interface["ofport"] or -1) < 0:
        error = "not attached"
    return OvsPort(
        port["name"],
        bridge,
        interface["type"],
        interface["options"],
        bool(port["protected"]),
        port["external_ids"],
        error,
        int(port.get("tag") or 0),
    )


def _rows(text: str, table: str) -> list[Row]:
    for line in text.splitlines():
        key, _, answer = line.partition(" ")
        if key == table:
            decoded = json.loads(answer)
            return [
                {name: _plain(value) for name, value in zip(decoded["headings"], row, strict=True)}
                for row in decoded["data"]
            ]
    return []


def _plain(value: Any) -> Any:
    """A value of the database; sets, maps and uuids are tagged pairs (RFC 7047, 5.1)."""
    match value:
        case ["set", []]:
            return None
        case ["set", items]:
            return [_plain(item) for item in items]
        case ["map", pairs]:
            return dict(pairs)
        case ["uuid", text]:
            return text
    return value


def _list(value: Any) -> list[Any]:
    # A set of one element comes as the element itself.
    return value if isinstance(value, list) else [] if value is None else [value]


def quoted(text: str) -> str:
    """A string as ovs-vsctl reads it: unquoted it may hold only a few characters."""
    return json.dumps(text)

"""What `ovs-vsctl -f json list` prints of bridges, ports and interfaces. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VSCTL = ("ovs-vsctl", "-t", "30")
"""The command, which gives up after 30 s where the daemon is not there to do what it is told."""

TABLES = ("ovs_bridges", "ovs_ports", "ovs_interfaces")
NIC, INNER, MARK = "provision-nic", "provision-inner", "provision"
"""Keys of external_ids: whose addresses a bridge holds, a veth's other end, and whose it is."""

NIC_BRIDGE = "phy-"
"""The bridge that a NIC is a port of is called so, with the NIC's name behind it."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A port of a bridge with one interface; `trouble` is why it does not work, if it does not.

    `tag` is its VLAN, 0 where it carries all.
    """

    name: str
    bridge: str
    type: str
    options: Mapping[str, str]
    protected: bool
    ids: Mapping[str, str]
    trouble: str
    tag: int = 0


def bridges(text: str) -> list[Row]:
    """Every bridge, of what a look printed."""
    return _rows(text, "ovs_bridges")


def ports(text: str) -> Iterator[OvsPort]:
    """Every port of every bridge, but for the bridge's own."""
    named = {row["_uuid"]: row for row in _rows(text, "ovs_ports")}
    interfaces = {row["_uuid"]: row for row in _rows(text, "ovs_interfaces")}
    for bridge in bridges(text):
        for port in (named[uuid] for uuid in _many(bridge["ports"])):
            found = [interfaces[uuid] for uuid in _many(port["interfaces"]) if uuid in interfaces]
            if port["name"] != bridge["name"] and len(found) == 1:
                yield _port(bridge["name"], port, found[0])


def places(text: str) -> dict[str, str]:
    """The bridge of every port, and of every bridge's own device."""
    own = {str(row["name"]): str(row["name"]) for row in bridges(text)}
    return {port.name: port.bridge for port in ports(text)} | own


def _port(bridge: str, port: Row, interface: Row) -> OvsPort:
    trouble = str(interface["error"] or "")
    if not trouble and (interface["ofport"] or -1) < 0:
        trouble = "not attached"
    return OvsPort(
        port["name"],
        bridge,
        interface["type"],
        interface["options"],
        bool(port["protected"]),
        port["external_ids"],
        trouble,
        int(port.get("tag") or 0),
    )


def _rows(text: str, table: str) -> list[Row]:
    for line in text.splitlines():
        word, _, answer = line.partition(" ")
        if word == table:
            found = json.loads(answer)
            return [
                {key: _plain(value) for key, value in zip(found["headings"], row, strict=True)}
                for row in found["data"]
            ]
    return []


def _plain(value: Any) -> Any:
    """RFC 7047, 5.1: sets, maps and uuids are tagged pairs."""
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


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def quoted(text: str) -> str:
    """A string as ovs-vsctl reads it: without quotes it is a word of fewer characters."""
    return json.dumps(text)

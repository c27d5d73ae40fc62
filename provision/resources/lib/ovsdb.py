"""Open vSwitch: its marks, and the bridges, ports and interfaces that its database lists. Pure.

A probe prints one line per table, such as `ovs_bridges JSON`: see templates/look/shared.sh.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.resources.steps import Run, sh

VSCTL = ("ovs-vsctl", "-t", "30")
"""The command. It fails if ovs-vswitchd has not applied the change after 30 s."""

TABLES = ("ovs_bridges", "ovs_ports", "ovs_interfaces")
"""First words of a probe's lines, one per table."""

# Keys of the column external_ids, which Open vSwitch leaves to other programs.
MARK_KEY = "provision"
NIC_KEY = "provision-nic"
"""Of a bridge: the NIC that is a port of it, and whose addresses it has."""
INNER_KEY = "provision-inner"
"""Of a port that is one end of a veth pair: the other end, a port of a Linux bridge."""

PortVlans = tuple[tuple[str, str], ...]
"""Ports with settings of VLANs: the name, and the settings as ovs-vsctl takes them."""

LAN_KEY = "provision-lan"
"""Of a bridge on the hosts' LAN: its mark."""

NIC_BRIDGE_PREFIX = "phy-"
"""The bridge of the NIC eth1 is named phy-eth1."""

# By its process id: ovs-vsctl could start a stopped daemon by its socket. While it does not run,
# nobody can tell whose its bridges and ports are, and no step can change them.
_RUNS = 'kill -0 "$(cat /run/openvswitch/ovsdb-server.pid 2>/dev/null)" 2>/dev/null || exit 1\n'
_BRIDGE_IS_FOREIGN = f"""{_RUNS}
ovs() {{ ovs-vsctl -t 10 --if-exists "$@" 2>/dev/null | tr -d '"'; }}
ovs-vsctl -t 10 br-exists "$1" || {{
  [ -e "/sys/class/net/$1" ] || [ -n "$(ovs port-to-br "$1")" ]
  exit
}}
case $(ovs get bridge "$1" "external_ids:$2") in "$3" | "$3/"*) exit 1 ;; esac
"""
_PORT_IS_FOREIGN = f"""{_RUNS}
ovs-vsctl -t 10 br-exists "$1" && exit
ovs-vsctl -t 10 port-to-br "$1" >/dev/null 2>&1 || exit 1
mark=$(ovs-vsctl -t 10 --if-exists get port "$1" "external_ids:$2") || exit 0
mark=$(printf %s "$mark" | tr -d '"')
[ -n "$mark" ] || [ ! -e "/sys/class/net/$1" ] || mark=$4
case $mark in "$3" | "$3/"*) exit 1 ;; esac
"""


def is_foreign_bridge(bridge: str, owner: str, key: str = MARK_KEY) -> Run:
    """Succeed if `bridge` is a bridge whose mark `key` is not of `owner`, or a port or link."""
    return sh(_BRIDGE_IS_FOREIGN, bridge, key, owner)


def is_foreign_port(port: str, owner: str, *, unmarked: bool = True) -> Run:
    """Succeed if `port` is a port with the mark of others, or a bridge.

    `unmarked`: one with no mark is foreign, too.
    """
    return sh(_PORT_IS_FOREIGN, port, MARK_KEY, owner, "" if unmarked else owner)


_VLAN_MODES = ("access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel")

Row = Mapping[str, Any]
"""A row of a table: value by column."""


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A port with one interface.

    `error`: the reason why the port does not work; empty if it does. `protected`: the bridge
    forwards nothing from it to another protected port. `tag`: its VLAN, or 0 for a trunk. `up` is
    False if ovs-vswitchd sees the interface down, where the probe asks for that. `vlans` are its
    settings of VLANs, as `port_vlans` has them; empty if it carries all packets as they are.
    """

    name: str
    bridge: str
    type: str
    options: Mapping[str, str]
    protected: bool
    external_ids: Mapping[str, str]
    error: str
    tag: int = 0
    up: bool = True
    vlans: str = ""


def bridges(text: str) -> list[Row]:
    """The rows of all bridges."""
    return _rows(text, "ovs_bridges")


def controlled_bridges(text: str) -> frozenset[str]:
    """The bridges with an OpenFlow controller, which governs their flows."""
    return frozenset(str(row["name"]) for row in bridges(text) if row.get("controller"))


def ports(text: str) -> Iterator[OvsPort]:
    """Yield the ports of all bridges that have one interface.

    Leaves out bonds, and the port that every bridge has for its own device, of the same name.
    """
    port_rows = {row["_uuid"]: row for row in _rows(text, "ovs_ports")}
    interfaces = {row["_uuid"]: row for row in _rows(text, "ovs_interfaces")}
    for bridge in bridges(text):
        for port in (port_rows[uuid] for uuid in _list(bridge["ports"])):
            members = [interfaces[uuid] for uuid in _list(port["interfaces"]) if uuid in interfaces]
            if port["name"] != bridge["name"] and len(members) == 1:
                yield _port(bridge["name"], port, members[0])


def bridge_by_port(text: str) -> dict[str, str]:
    """The name of the bridge by port. A bridge's own device counts as a port of the bridge."""
    own_ports = {str(row["name"]): str(row["name"]) for row in bridges(text)}
    return {port.name: port.bridge for port in ports(text)} | own_ports


def port_vlans(text: str, *names: str) -> PortVlans:
    """Those of the ports that have settings of VLANs. Also a bridge's own device is a port."""
    rows = {str(row["name"]): row for row in _rows(text, "ovs_ports")}
    return tuple(
        (name, settings) for name in names if name in rows and (settings := _vlans(rows[name]))
    )


def _vlans(port: Row) -> str:
    """The settings of VLANs of a port: its tag, trunks and mode, as far as they have an effect."""
    tag, trunks, mode = (port.get(column) for column in ("tag", "trunks", "vlan_mode"))
    # ovs-vswitchd.conf.db(5), VLAN Configuration: without a mode, a tag makes an access port.
    usual = "trunk" if tag is None else "access"
    numbers = ",".join(str(int(vlan)) for vlan in _list(trunks))
    settings = (
        f"tag={int(tag)}" if tag is not None else "",
        f"trunks={numbers}" if numbers and (mode or usual) != "access" else "",
        f"vlan_mode={mode}" if mode in _VLAN_MODES and mode != usual else "",
    )
    return " ".join(filter(None, settings))


def _port(bridge: str, port: Row, interface: Row) -> OvsPort:
    error = str(interface["error"] or "")
    # ovs-vswitchd.conf.db(5): Interface.ofport is -1 if ovs-vswitchd could not add the interface.
    # The column is empty until ovs-vswitchd has tried.
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
        # ovs-vswitchd.conf.db(5): both columns are empty while ovs-vswitchd does not know.
        "down" not in (interface.get("admin_state"), interface.get("link_state")),
        _vlans(port),
    )


def _rows(text: str, table: str) -> list[Row]:
    """The rows of a table; none if Open vSwitch does not run."""
    # Without reading the other lines: most hosts have no such line, but thousands of others.
    _, found, rest = f"\n{text}".partition(f"\n{table} ")
    if not found:
        return []
    listed = json.loads(rest.partition("\n")[0])
    return [
        {column: _decoded(cell) for column, cell in zip(listed["headings"], row, strict=True)}
        for row in listed["data"]
    ]


def _decoded(value: Any) -> Any:
    """A set as a list (None if empty), a map as a dict, a UUID as a string.

    RFC 7047, 5.1: the database sends each as a pair of a tag and the content.
    """
    match value:
        case ["set", []]:
            return None
        case ["set", items]:
            return [_decoded(item) for item in items]
        case ["map", pairs]:
            return dict(pairs)
        case ["uuid", text]:
            return text
    return value


def _list(value: Any) -> list[Any]:
    # RFC 7047, 5.1: a set of one element is sent as the element itself.
    return value if isinstance(value, list) else [] if value is None else [value]


def vsctl_string(text: str) -> str:
    """Quote a string for ovs-vsctl, in the syntax of JSON.

    ovs-vsctl(8), Database Values: without quotes, a string may contain only English letters,
    `_`, `-` and `.`.
    """
    return json.dumps(text)

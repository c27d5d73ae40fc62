"""The reading of tunnels and of Open vSwitch's ports in the output of the topology probe. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.facts.lines import KeyedLines
from provision.facts.topology import (
    OVS_BRIDGE,
    NetNamespace,
    TunnelEnd,
    WireguardEnd,
    WireguardPeer,
)
from provision.resources.lib import ovsdb

TUNNELS = (
    "vxlan", "geneve", "gre", "gretap", "erspan", "ipip", "sit", "vti", "tun", "wireguard",
    "ip6tnl", "ip6gre", "ip6gretap",
)  # fmt: skip
"""Kinds of interfaces that send packets to other hosts inside packets of another interface."""
_KEYS = ("id", "okey", "key")
"""Keys of `ip -d` for what both ends of a tunnel share: the VNI, and the key of GRE."""


def with_ovs_ports(root: NetNamespace, lines: KeyedLines) -> NetNamespace:
    """The host's namespace, with the bridges of Open vSwitch as the masters of their ports.

    The kernel names `ovs-system` as the master of each port of its own datapath, and none for the
    ports of the userspace datapath. A bridge's own interface is a tap device there.
    """
    tables = _tables(lines)
    bridges = {str(row["name"]) for row in ovsdb.bridges(tables)}
    masters = {port.name: port.bridge for port in ovsdb.ports(tables)}
    links = (
        replace(link, kind=OVS_BRIDGE, master="")
        if link.name in bridges
        else replace(link, master=masters.get(link.name, link.master))
        for link in root.links
    )
    return replace(root, links=tuple(links))


def vlans(lines: KeyedLines) -> dict[str, int]:
    """The VLAN tag of each access port of Open vSwitch."""
    return {port.name: port.tag for port in ovsdb.ports(_tables(lines)) if port.tag}


def ovs_error(lines: KeyedLines) -> str:
    """The reason why bridges of Open vSwitch forward nothing, or cannot be read."""
    tables = _tables(lines)
    # Debian starts the database with the package: without bridges nobody misses ovs-vswitchd.
    return "" if tables and not ovsdb.bridges(tables) else lines.only("ovs_error", "")


def tunnels(
    entries: Iterable[Mapping[str, Any]], root: NetNamespace, lines: KeyedLines
) -> Iterator[TunnelEnd]:
    """Yield the kernel's tunnel devices, then the tunnel ports of Open vSwitch.

    `entries` are the interfaces of the host's namespace, as `ip -d` prints them.
    """
    kinds = {link.name: link.kind for link in root.links}
    forwards, ends = _forwards(lines), dict(_wireguard_ends(lines))
    for entry in entries:
        # A tap device is a bridge of Open vSwitch, also while this does not run, or leads to a
        # virtual machine.
        tap = entry.get("linkinfo", {}).get("info_data", {}).get("type") == "tap"
        if kinds.get(entry["ifname"]) in TUNNELS and not tap:
            device = _device(entry, forwards.get(entry["ifname"], ()))
            yield replace(device, wireguard=ends.get(device.name))
    error = ovs_error(lines)
    for port in ovsdb.ports(_tables(lines)):
        if port.type in TUNNELS:
            yield _port(port, error)


def _device(entry: Mapping[str, Any], forwards: Iterable[IPv4Address]) -> TunnelEnd:
    info = entry["linkinfo"].get("info_data", {})
    remotes = [*_addresses(info.get("remote")), *forwards]
    return TunnelEnd(
        entry["ifname"],
        entry["linkinfo"]["info_kind"],
        entry["ifname"],
        entry.get("master", ""),
        tuple(dict.fromkeys(remotes)),
        str(next((info[key] for key in _KEYS if info.get(key) is not None), "")),
        "" if "UP" in entry["flags"] else "DOWN",
    )


def _port(port: ovsdb.OvsPort, ovs_error: str) -> TunnelEnd:
    error = ovs_error or port.error or ("" if port.up else "DOWN")
    remotes = tuple(_addresses(port.options.get("remote_ip")))
    key = port.options.get("key", "")
    return TunnelEnd(port.name, port.type, "", port.bridge, remotes, key, error)


def _forwards(lines: KeyedLines) -> dict[str, list[IPv4Address]]:
    """The remote hosts of each device, from lines such as `MAC dev DEV dst ADDRESS self`."""
    remotes: dict[str, list[IPv4Address]] = {}
    for line in lines.every("forward"):
        fields = line.split()
        device, remote = (fields[fields.index(key) + 1] for key in ("dev", "dst"))
        remotes.setdefault(device, []).extend(_addresses(remote))
    return remotes


def _wireguard_ends(lines: KeyedLines) -> Iterator[tuple[str, WireguardEnd]]:
    """Yield the name of each WireGuard device, and what it tells."""
    now = int(lines.only("wg_now", "0"))
    rows = [line.split(" ") for line in lines.every("wg_peer")]
    for line in lines.every("wg_device"):
        device, public, port = line.split(" ")
        peers = tuple(_wireguard_peer(row, now) for row in rows if row[0] == device)
        yield device, WireguardEnd(public, int(port), peers)


def _wireguard_peer(row: Sequence[str], now: int) -> WireguardPeer:
    _, public, endpoint, allowed, handshake = row
    networks = (text for text in allowed.split(",") if "." in text)
    return WireguardPeer(
        public,
        next(_addresses(endpoint.rpartition(":")[0]), None),
        tuple(map(IPv4Network, networks)),
        max(now - int(handshake), 0) if int(handshake) else None,
    )


def _addresses(text: str | None) -> Iterator[IPv4Address]:
    """The address in a text. Nothing for none, for `flow` (of OpenFlow rules) and for IPv6."""
    try:
        yield IPv4Address(text or "")
    except ValueError:
        return


def _tables(lines: KeyedLines) -> str:
    return "\n".join(f"{key} {text}" for key in ovsdb.TABLES for text in lines.every(key))

"""What Docker answers about its networks, as fields of the kind `docker_network`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.model.names import interface_name
from provision.resources.base import Origin
from provision.resources.lib import network_options
from provision.resources.lib.network_options import BRIDGE_NAME

BRIDGE_PREFIX = "br-"
"""The name of every bridge of provision begins so (`model.names.interface_name`)."""


def fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the network of an entry, besides its name, its mark and its guests."""
    pools = (entry.get("IPAM") or {}).get("Config") or [{}]
    options, usual = network_options.compared(entry.get("Options") or {})
    return {
        "subnet": _version_4(_subnet, pools[0].get("Subnet")),
        "gateway": _version_4(IPv4Address, pools[0].get("Gateway")),
        "options": options,
        "ip_range": _version_4(_subnet, pools[0].get("IPRange")),
        "driver": "" if entry["Driver"] == "bridge" else entry["Driver"],
        "usual": usual,
    }


def _subnet(text: str) -> IPv4Network:
    # Docker stores what `--subnet` says: 10.9.0.7/24 as well as 10.9.0.0/24.
    return IPv4Network(text, strict=False)


def _version_4(kind: Any, text: str | None) -> Any:
    # A network with IPv6 only has an IPv6 pool in the same place.
    return None if not text or ":" in text else kind(text)


def lost_networks(
    networks: Collection[Mapping[str, Any]],
    links: Collection[Mapping[str, Any]],
    made: Collection[str],
    origin: Origin,
) -> Iterator[tuple[str, str]]:
    """Yield networks that Docker has no more, each with its bridge, which is left.

    Only this inventory gives the bridges these names. `made` are the bridges among the host's
    `links`: a link of another type, or with an address of another range, is of others.
    """
    by_name = {link.get("ifname"): link for link in links}
    names = {entry["Name"] for entry in networks}
    bridges = {(entry.get("Options") or {}).get(BRIDGE_NAME) for entry in networks}
    for name, cidr in origin.networks:
        bridge = interface_name(BRIDGE_PREFIX, origin.inventory, name)
        if bridge not in made or bridge in bridges or name in names:
            continue
        if all(address in cidr for address in _addresses(by_name.get(bridge, {}))):
            yield name, bridge


def _addresses(link: Mapping[str, Any]) -> Iterator[IPv4Address]:
    infos = (info for info in link.get("addr_info", ()) if info.get("family") == "inet")
    return (IPv4Address(info["local"]) for info in infos)

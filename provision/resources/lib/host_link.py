"""The interface that holds the addresses of a host whose NIC is a port of a bridge. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.resources.lib.nic_records import OriginalNic

Links = Mapping[str, Mapping[str, Any]]
"""Interfaces by name, as `ip -j address` prints them."""


def is_up(links: Links, name: str) -> bool:
    """True for an interface that is there and has the flag UP."""
    return "UP" in links.get(name, {}).get("flags", ())


def is_port(links: Links, name: str, bridge: str) -> bool:
    """True for an interface that is up, and a port of the bridge."""
    return links.get(name, {}).get("master") == bridge and is_up(links, name)


def address_holder(nic: OriginalNic, links: Links, bridge: str) -> str:
    """The only interface with addresses of the host, if it is linked and has all; else empty."""
    # An interrupted move leaves addresses on two interfaces: then neither holds them all.
    recorded = {address.cidr for address in nic.addresses}
    # Other NICs may have leases of their own.
    ends = (nic.nic, nic.address_holder(bridge)) if nic.lease else ()
    leased = {name for name in ends if _is_leased(links.get(name, {}))}
    addresses = {name: _addresses(link) for name, link in links.items()}
    holders = [name for name, held in addresses.items() if name in leased or recorded & held]
    if len(holders) != 1:
        return ""
    holder = holders[0]
    complete = not nic.lacking(addresses[holder], leased=holder in leased)
    return holder if complete and _is_linked(nic, links, bridge, holder) else ""


def _is_linked(nic: OriginalNic, links: Links, bridge: str, holder: str) -> bool:
    """True if the interface, and the way from a veth to the bridge, are up."""
    veth = nic.host_veth
    if veth is None or holder != veth.name:
        return is_up(links, holder)
    # A veth whose other end is down, or no port, stays up, and so do its addresses and routes.
    return is_up(links, holder) and is_port(links, veth.peer, bridge) and is_up(links, bridge)


def _is_leased(link: Mapping[str, Any]) -> bool:
    """True if a DHCP client has set an address of the interface: the address has an end."""
    infos = link.get("addr_info", ())
    return any(info.get("family") == "inet" and info.get("dynamic") for info in infos)


def _addresses(link: Mapping[str, Any]) -> set[str]:
    return {f"{a.get('local')}/{a.get('prefixlen')}" for a in link.get("addr_info", ())}

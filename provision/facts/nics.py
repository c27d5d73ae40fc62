"""NICs of a host as candidates for a bridge: their managers, addresses and routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from provision.facts.lines import KeyedLines
from provision.resources.lib.base64_text import decode_text
from provision.resources.lib.nic_records import NETWORKD, DhcpLease, NicAddress, NicRoute
from provision.resources.lib.shared_json import made
from provision.resources.on_hosts import PROTO

# The snapshot calls `ip -N`, which prints the numbers of linux/rtnetlink.h instead of names.
# RTPROT_KERNEL, RTPROT_RA, RTPROT_DHCP: the program that made such a route makes it again.
_MADE_AGAIN = ("2", "9", "16")
_KERNEL = "2"
# Our routes move with a NIC's addresses (host/nic_to_bridge.sh), but are no settings of the NIC:
# when it gets them back, other routes may stand, or none.
_NOT_OF_THE_NIC = (*_MADE_AGAIN, str(PROTO))
_DEFAULTS = ("default", "::/0")
_MAIN_TABLE = "254"
_BOOT = "3"
# Numbers, and the names that `ip` prints without -N.
_UNICAST, _GLOBAL, _LINK = ("1", "unicast"), ("0", "global"), ("253", "link")


@dataclass(frozen=True, slots=True)
class Nic:
    """An interface of the host.

    `managers` own it: systemd-networkd, netplan, NetworkManager, ifupdown. `network` is the text
    of networkd's file for it, drop-ins included. `dynamic` is True if an IPv4 address of it is
    leased by DHCP; `lease` has those of which the kernel knows the end. `dhcp_clients` have a lease
    for it: systemd-networkd (also for netplan), NetworkManager, ifupdown. `master` is the bridge
    that it is a port of.
    """

    name: str
    mac: str = ""
    mtu: int = 1500
    ether: bool = True
    wireless: bool = False
    bridge: bool = False
    master: str = ""
    managers: tuple[str, ...] = ()
    network: str = ""
    dynamic: bool = False
    lease: DhcpLease | None = field(default=None, repr=False)
    dhcp_clients: tuple[str, ...] = field(default=(), repr=False)
    addresses: tuple[NicAddress, ...] = ()
    routes: tuple[NicRoute, ...] = ()


def parse(
    lines: KeyedLines, links: Iterable[dict[str, Any]], ovs_bridges: Mapping[str, str]
) -> dict[str, Nic]:
    """Every interface of a host by name; `links` is the JSON of `ip address show`.

    `ovs_bridges` gives the Open vSwitch bridge of each of its ports, and of its own device.
    """
    routes = _by_device(lines.decoded("every_route", "[]"))
    by_interface = lines.by_interface()
    return {
        name: _nic(link, routes.get(name, []), by_interface.get(name, []), ovs_bridges)
        for name, link in ((link["ifname"], link) for link in links)
    }


def _by_device(routes: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The NICs' routes by device, each list in the order of `routes`.

    Without those of several devices.
    """
    by_device: dict[str, list[Mapping[str, Any]]] = {}
    for entry in routes:
        if "dev" in entry and made(entry, _nic_route) is not None:
            by_device.setdefault(entry["dev"], []).append(entry)
    return by_device


def default_routes(lines: KeyedLines) -> tuple[NicRoute, ...]:
    """The host's default routes of every table, each with its device."""
    entries = [route for route in lines.decoded("every_route", "[]") if route["dst"] in _DEFAULTS]
    return tuple(
        replace(route, dev=nic)
        for nic, of_nic in sorted(_by_device(entries).items())
        for route in _routes(of_nic)
    )


def _nic(
    link: dict[str, Any],
    routes: list[Mapping[str, Any]],
    fields: list[tuple[str, str]],
    ovs_bridges: Mapping[str, str],
) -> Nic:
    keys = [key for key, _ in fields]
    infos = link.get("addr_info", ())
    # The kernel gives no master to a port of a userspace datapath: only OVSDB knows it.
    ovs_bridge = ovs_bridges.get(link["ifname"], "")
    leased = tuple(_leased(infos))
    ovs_master = ovs_bridge if ovs_bridge != link["ifname"] else ""
    return Nic(
        name=link["ifname"],
        mac=link.get("address", ""),
        mtu=int(link["mtu"]),
        ether=link.get("link_type") in ("ether", "[1]"),  # 1 is ARPHRD_ETHER
        wireless="wireless" in keys,
        bridge="bridge" in keys or ovs_bridge == link["ifname"],
        master=ovs_master or link.get("master", ""),
        managers=_managers(fields),
        network="\n".join(decode_text(value) for key, value in fields if key == "network_file"),
        dynamic="lease" in keys or bool(leased),
        lease=DhcpLease(leased, dict(fields).get("lease", "")) if leased else None,
        dhcp_clients=tuple(_dhcp_clients(fields, leased)),
        addresses=tuple(_addresses(infos)),
        # NetworkManager adds the route of an address itself, as one of the kernel's, and so it has
        # to be moved; the kernel makes it for every other address.
        routes=tuple(_routes(routes, prefixes=any(info.get("noprefixroute") for info in infos))),
    )


def _managers(fields: list[tuple[str, str]]) -> tuple[str, ...]:
    managers = {value for key, value in fields if key == "manager"}
    files = [value for key, value in fields if key == "networkd"]
    # netplan makes networkd's files, below /run/systemd/network, and would make them again.
    managers |= {"netplan" if "netplan" in path else "systemd-networkd" for path in files}
    return tuple(sorted(managers))


def _leased(infos: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield each IPv4 address with a lifetime, which a DHCP client has set."""
    for info in infos:
        if _is_ipv4(info) and info.get("dynamic"):
            yield f"{info['local']}/{info['prefixlen']}"


def _dhcp_clients(fields: list[tuple[str, str]], leased: tuple[str, ...]) -> Iterator[str]:
    """Yield the programs that have a lease for the NIC; some tell the address."""
    for key, value in fields:
        client, _, address = value.partition(" ")
        if key == "lease":
            yield NETWORKD
        elif key == "leased" and (not address or address in [c.split("/")[0] for c in leased]):
            yield client


def _is_ipv4(info: Mapping[str, Any]) -> bool:
    return info.get("family") == "inet"


def _addresses(infos: Iterable[dict[str, Any]]) -> Iterator[NicAddress]:
    for info in infos:
        ipv4, scope = _is_ipv4(info), str(info.get("scope"))
        # The kernel makes link-local addresses of IPv6 itself, and the next router advertisement
        # brings the dynamic ones.
        if not ipv4 and (scope in _LINK or info.get("dynamic")):
            continue
        yield NicAddress(
            info["local"],
            info["prefixlen"],
            peer=info.get("address", ""),  # iproute2 calls the peer `address`
            broadcast=info.get("broadcast", ""),
            # The kernel derives the scope of an IPv6 address from the address itself.
            scope=scope if ipv4 and scope not in _GLOBAL else "",
            noprefixroute=bool(info.get("noprefixroute")),
            # The host had the address before: duplicate address detection would only delay it.
            nodad=not ipv4,
            metric=info.get("metric") or 0,
        )


def _routes(entries: Iterable[Mapping[str, Any]], *, prefixes: bool = False) -> Iterator[NicRoute]:
    """Yield routes that nobody makes again; `prefixes`: also those of the NIC's own ranges."""
    for entry in entries:
        route = made(entry, _nic_route)
        if route is not None and (prefixes or route.proto != _KERNEL):
            yield route


def _nic_route(entry: Mapping[str, Any]) -> NicRoute | None:
    """The route of an entry; None if it is not the NIC's, or no unicast route."""
    # `ip` prints none of the three where it has its usual value.
    protocol = str(entry.get("protocol", _BOOT))
    table, scope = str(entry.get("table", _MAIN_TABLE)), str(entry.get("scope", "0"))
    own_range = protocol == _KERNEL and table == _MAIN_TABLE and not _is_link_local(entry)
    if protocol in _NOT_OF_THE_NIC and not own_range:
        return None
    if str(entry.get("type", "1")) not in _UNICAST:
        return None
    # `ip route replace` takes `default` for IPv4 where no other argument shows the family.
    ipv6_default = entry["dst"] == "default" and ":" in entry.get("gateway", "")
    return NicRoute(
        "::/0" if ipv6_default else entry["dst"],
        entry.get("gateway", ""),
        entry.get("prefsrc", ""),
        entry.get("metric") or 0,
        table if table != _MAIN_TABLE else "",
        entry["metrics"][0].get("mtu", 0) if entry.get("metrics") else 0,
        scope if scope not in _GLOBAL else "",
        "onlink" in entry.get("flags", ()),
        protocol,
    )


def _is_link_local(route: Mapping[str, Any]) -> bool:
    return str(route["dst"]).startswith("fe80:")


def _metrics(route: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = route.get("metrics") or [{}]
    return dict(metrics[0])

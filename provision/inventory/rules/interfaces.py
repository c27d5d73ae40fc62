"""What `interfaces` of containers mean: their form, and how they fit hosts and networks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

from provision import methods
from provision.model.documents import (
    ContainerDocument,
    Decoded,
    InterfaceDocument,
    Layout,
    RouteDocument,
)
from provision.model.fields.interfaces import ip_version
from provision.model.findings import KEY, Finding, Loc
from provision.model.inventory import Interface, InterfaceRoute, InterfaceRule
from provision.model.names import hashed_mac
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted

PLACES = ("network", "macvlan", "nic")
_SAMPLE = "write one of network: lan, macvlan: eth1 or nic: eth2"


def interfaces(inventory: str, container: str, document: ContainerDocument) -> list[Interface]:
    """The interfaces of one container, in order."""
    return [_interface(inventory, container, k, one) for k, one in enumerate(document.interfaces)]


def name_of(k: int, document: InterfaceDocument) -> str:
    """Its name inside; pipework's first one is eth1, too."""
    return document.name or f"eth{k + 1}"


def _interface(inventory: str, container: str, k: int, document: InterfaceDocument) -> Interface:
    name, mac = name_of(k, document), document.mac or ""
    if document.mac_from is not None:
        mac = hashed_mac(document.mac_from)
    elif not mac and not document.nic:
        mac = hashed_mac(inventory, container, name)
    return Interface(
        name=name,
        network=document.network or "",
        macvlan=document.macvlan or "",
        nic=document.nic or "",
        addresses=document.all_addresses,
        routes=tuple(_routes(document)),
        rules=tuple(
            InterfaceRule(rule.priority, rule.table, rule.source or "", rule.to or "")
            for rule in document.rules
        ),
        mac=mac,
        vlan=document.vlan or 0,
        mtu=document.mtu or 0,
    )


def _routes(document: InterfaceDocument) -> Iterator[InterfaceRoute]:
    for via in filter(None, (document.gateway, document.gateway6)):
        yield InterfaceRoute("default", via)
    for one in document.routes:
        yield InterfaceRoute(one.to, one.via or "", one.source or "", one.metric, one.table or 254)


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Every finding about interfaces."""
    nics: dict[tuple[str, str], str] = {}
    owners: dict[tuple[str, int, str], str] = {}
    for name, container in decoded.containers.items():
        loc: Loc = ("containers", name, "interfaces")
        yield from _modes(loc, container)
        taken = {"lo"} | ({"eth0"} if container.network != "none" else set())
        for k, one in enumerate(container.interfaces):
            at: Loc = (*loc, k)
            yield from _name(at, name_of(k, one), taken)
            yield from _place(at, container, one, decoded, layout)
            yield from _values(at, one)
            yield from _whole_nic(at, name, container, one, nics)
            yield from _same_address(at, name, one, owners)


def _modes(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    word = container.network.partition(":")[0]
    if container.interfaces and word in ("host", "container"):
        whose = "the host" if word == "host" else "another container"
        message = f"'interfaces' cannot be with network {quoted(container.network)}: the namespace"
        yield Finding(loc, f"{message} is that of {whose}", "write network: none")


def _name(at: Loc, name: str, taken: set[str]) -> Iterator[Finding]:
    if name in taken:
        message = f"the container has an interface {quoted(name)} already"
        yield Finding((*at, "name"), message, "write another name, like eth1")
    taken.add(name)


def _place(
    at: Loc, container: ContainerDocument, one: InterfaceDocument, decoded: Decoded, layout: Layout
) -> Iterator[Finding]:
    given = [key for key in PLACES if getattr(one, key) is not None]
    if len(given) != 1:
        said = "says not what it is on" if not given else f"cannot have {' and '.join(given)}"
        yield Finding((*at, KEY) if not given else (*at, given[1], KEY), f"item {said}", _SAMPLE)
    if one.network is None:
        return
    networks = decoded.declared["networks"]
    if one.network not in networks:
        hint = did_you_mean(one.network, networks, "networks")
        yield Finding((*at, "network"), f"unknown network {quoted(one.network)}", hint)
        return
    network = decoded.networks.get(one.network)
    if network is not None and not methods.named(network.method).takes_interfaces:
        message = f"network '{one.network}' is of method {network.method}: it has no bridge to join"
        joinable = [name for name in methods.names() if methods.named(name).takes_interfaces]
        hint = f"name a network of method {' or '.join(joinable)}"
        yield Finding((*at, "network"), message, hint)
    elif network is not None and container.host not in layout.hosts[one.network]:
        message = f"host '{container.host}' is not in network '{one.network}'"
        hint = f"its hosts are {listed(layout.hosts[one.network])}"
        yield Finding((*at, "network"), message, hint)


def _values(at: Loc, one: InterfaceDocument) -> Iterator[Finding]:
    if one.mac is not None and one.mac_from is not None:
        yield Finding((*at, "mac_from", KEY), "item has mac and mac_from", "remove one of them")
    if one.nic is not None and one.vlan is not None:
        message = "a whole NIC carries every VLAN"
        yield Finding((*at, "vlan"), message, "remove it, or use macvlan")
    addresses = one.all_addresses
    for address in {text for text in addresses if addresses.count(text) > 1}:
        yield Finding((*at, "addresses"), f"{address} is written twice", "remove one")
    for key, version in (("gateway", 4), ("gateway6", 6)):
        via = getattr(one, key)
        if via is not None:
            yield from _gateway((*at, key), key, via, version, addresses)
    for k, route in enumerate(one.routes):
        yield from _route((*at, "routes", k), route, addresses)
    priorities = [rule.priority for rule in one.rules]
    for k, rule in enumerate(one.rules):
        if rule.source is None and rule.to is None:
            hint = "write source: 10.78.0.245/32 or to: 10.9.0.0/16"
            yield Finding((*at, "rules", k), "rule says not which packets it is for", hint)
        if rule.priority in priorities[:k]:
            message = f"two rules have the priority {rule.priority}"
            yield Finding((*at, "rules", k, "priority"), message, "each has its own")


def _gateway(
    loc: Loc, key: str, via: str, version: int, addresses: tuple[str, ...]
) -> Iterator[Finding]:
    mine = [ip_interface(text) for text in addresses if ip_version(text) == version]
    if ip_address(via).version != version:
        other = "gateway" if key == "gateway6" else "gateway6"
        yield Finding(loc, f"{via} is no IPv{version} address", f"write {other}: {via}")
    elif not mine:
        message = f"the interface has no IPv{version} address to reach {via} from"
        yield Finding(loc, message, f"write an address, or remove '{key}'")
    elif any(str(own.ip) == via for own in mine):
        yield Finding(loc, f"{via} is the interface's own address", "write the router's")
    elif not any(ip_address(via) in own.network for own in mine) and version == 4:
        ranges = ", ".join(str(own.network) for own in mine)
        message = f"gateway {via} is in none of the interface's ranges ({ranges})"
        yield Finding(loc, message, "write a router of that range")


def _route(loc: Loc, route: RouteDocument, addresses: tuple[str, ...]) -> Iterator[Finding]:
    if route.to == "default" and route.via is None:
        yield Finding((*loc, "to"), "the default route has no 'via'", "write via: 10.78.0.254")
    elif route.to != "default":
        version = ip_version(route.to)
        for key in ("via", "source"):
            text = getattr(route, key)
            if text is not None and ip_address(text).version != version:
                message = f"{text} is no IPv{version} address, as {route.to} is"
                yield Finding((*loc, key), message, "use one family in a route")
    own = {str(ip_interface(text).ip) for text in addresses}
    if route.source is not None and route.source not in own:
        message = f"source {route.source} is no address of the interface"
        yield Finding((*loc, "source"), message, "write one of its addresses")


def _whole_nic(
    at: Loc,
    name: str,
    container: ContainerDocument,
    one: InterfaceDocument,
    nics: dict[tuple[str, str], str],
) -> Iterator[Finding]:
    if one.nic is None:
        return
    first = nics.setdefault((container.host, one.nic), name)
    if first != name:
        message = f"{container.host}'s NIC {one.nic} is given to container '{first}' already"
        yield Finding((*at, "nic"), message, "a NIC is in one place; use macvlan for several")


def _same_address(
    at: Loc, name: str, one: InterfaceDocument, owners: dict[tuple[str, int, str], str]
) -> Iterator[Finding]:
    place = one.network or ""
    for text in one.all_addresses if place else ():
        first = owners.setdefault((place, one.vlan or 0, text.partition("/")[0]), name)
        if first != name:
            address = text.partition("/")[0]
            message = f"containers '{first}' and '{name}' have the same address {address}"
            key = "address" if one.address == text else "addresses"
            yield Finding((*at, key), message, "each has its own")

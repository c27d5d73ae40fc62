"""Rules for `interfaces` of containers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

from provision import methods
from provision.model.documents import ContainerDocument, Decoded, Layout
from provision.model.fields.interfaces import ip_version
from provision.model.findings import KEY, Finding, Loc
from provision.model.interface_documents import InterfaceDocument, RouteDocument
from provision.model.suggest import did_you_mean
from provision.model.text import listed, quoted

PARENTS = ("network", "macvlan", "nic")
_PARENT_HINT = "write one of network: lan, macvlan: eth1 or nic: eth2"


def name_of(k: int, document: InterfaceDocument) -> str:
    """Name of the k-th interface, from 0; like pipework's, the first is eth1 by default."""
    return document.name or f"eth{k + 1}"


def findings(decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the findings about the interfaces of all containers."""
    nics: dict[tuple[str, str], str] = {}
    owners: dict[tuple[str, int, str], str] = {}
    for name, container in decoded.containers.items():
        loc: Loc = ("containers", name, "interfaces")
        yield from _mode(loc, container)
        yield from _udp_ports(("containers", name, "ports"), container)
        names = {"lo"} | ({"eth0"} if container.network != "none" else set())
        for k, interface in enumerate(container.interfaces):
            item: Loc = (*loc, k)
            yield from _name(item, name_of(k, interface), names)
            yield from _parent(item, interface)
            yield from _network(item, interface.network, container.host, decoded, layout)
            yield from _values(item, interface)
            yield from _nic(item, name, container.host, interface, nics)
            yield from _same_address(item, name, interface, owners)


def _mode(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    mode = container.network.partition(":")[0]
    if container.interfaces and mode in ("host", "container"):
        owner = "the host" if mode == "host" else "another container"
        message = (
            f"'interfaces' cannot be combined with network {quoted(container.network)}:"
            f" the network namespace belongs to {owner}"
        )
        yield Finding(loc, message, "write network: none")


def _udp_ports(loc: Loc, container: ContainerDocument) -> Iterator[Finding]:
    """A UDP port beside an IPv4 address of an interface.

    A server that listens on all addresses lets the kernel choose the source of an answer by the
    route to the client, so no rule for the source can lead it back (engine/answer_routes.py).
    """
    addresses = [text for interface in container.interfaces for text in interface.all_addresses]
    if not any(ip_version(text) == 4 for text in addresses):
        return
    for k, text in enumerate(container.ports):
        if text.endswith("/udp"):
            message = (
                f"UDP port {quoted(text)} cannot be combined with an address in 'interfaces': "
                "answers would have that address as their source"
            )
            hint = "remove it: clients use the interface's address; or publish it by TCP"
            yield Finding((*loc, k), message, hint)


def _name(item: Loc, name: str, names: set[str]) -> Iterator[Finding]:
    """The name is not used by the interfaces before it; add it to `names`."""
    if name in names:
        message = f"the container already has an interface {quoted(name)}"
        yield Finding((*item, "name"), message, "write another name, like eth1")
    names.add(name)


def _parent(item: Loc, interface: InterfaceDocument) -> Iterator[Finding]:
    keys = [key for key in PARENTS if getattr(interface, key) is not None]
    if not keys:
        message = "item has none of 'network', 'macvlan', 'nic'"
        yield Finding((*item, KEY), message, _PARENT_HINT)
    elif len(keys) > 1:
        message = f"item has {' and '.join(map(quoted, keys))}, but needs exactly one"
        yield Finding((*item, keys[1], KEY), message, _PARENT_HINT)


def _network(
    item: Loc, name: str | None, host: str, decoded: Decoded, layout: Layout
) -> Iterator[Finding]:
    if name is None:
        return
    loc: Loc = (*item, "network")
    declared = decoded.declared["networks"]
    if name not in declared:
        hint = did_you_mean(name, declared, "networks")
        yield Finding(loc, f"unknown network {quoted(name)}", hint)
        return
    network = decoded.networks.get(name)
    if network is None:
        return  # it is invalid, which is reported already
    if not methods.named(network.method).takes_interfaces:
        message = f"network '{name}' has no bridge for interfaces: its method is {network.method}"
        able = [method for method in methods.names() if methods.named(method).takes_interfaces]
        yield Finding(loc, message, f"name a network of method {' or '.join(able)}")
    elif host not in layout.hosts[name]:
        message = f"host '{host}' is not in network '{name}'"
        yield Finding(loc, message, f"its hosts are {listed(layout.hosts[name])}")


def _values(item: Loc, interface: InterfaceDocument) -> Iterator[Finding]:
    if interface.mac is not None and interface.mac_from is not None:
        message = "item has both 'mac' and 'mac_from'"
        yield Finding((*item, "mac_from", KEY), message, "remove one of them")
    if interface.nic is not None and interface.vlan is not None:
        message = "'vlan' cannot be combined with 'nic': a NIC carries all VLANs"
        yield Finding((*item, "vlan"), message, "remove it, or write macvlan instead of nic")
    addresses = interface.all_addresses
    for address in {text for text in addresses if addresses.count(text) > 1}:
        yield Finding((*item, "addresses"), f"{address} is listed twice", "remove one")
    for key, version in (("gateway", 4), ("gateway6", 6)):
        router = getattr(interface, key)
        if router is not None:
            yield from _gateway((*item, key), router, version, addresses)
    for k, route in enumerate(interface.routes):
        yield from _route((*item, "routes", k), route, addresses)
    yield from _rules(item, interface)


def _gateway(loc: Loc, router: str, version: int, addresses: tuple[str, ...]) -> Iterator[Finding]:
    """`version` is the IP version of the key: 4 for `gateway`, 6 for `gateway6`."""
    local = [ip_interface(text) for text in addresses if ip_version(text) == version]
    key = loc[-1]
    if ip_address(router).version != version:
        correct = "gateway" if key == "gateway6" else "gateway6"
        yield Finding(loc, f"{router} is not an IPv{version} address", f"write {correct}: {router}")
    elif not local:
        message = f"the interface has no IPv{version} address to reach {router} from"
        yield Finding(loc, message, f"write an address, or remove '{key}'")
    elif any(str(interface.ip) == router for interface in local):
        message = f"{router} is the interface's own address"
        yield Finding(loc, message, "write the address of the router")
    # An IPv6 router may be link-local, which is in none of the ranges.
    elif version == 4 and not any(ip_address(router) in interface.network for interface in local):
        ranges = ", ".join(str(interface.network) for interface in local)
        message = f"gateway {router} is in none of the interface's ranges ({ranges})"
        yield Finding(loc, message, "write a router in that range")


def _route(loc: Loc, route: RouteDocument, addresses: tuple[str, ...]) -> Iterator[Finding]:
    if route.to == "default" and route.via is None:
        yield Finding((*loc, "to"), "the default route has no 'via'", "write via: 10.78.0.254")
    elif route.to != "default":
        version = ip_version(route.to)
        for key in ("via", "source"):
            text = getattr(route, key)
            if text is not None and ip_address(text).version != version:
                message = f"{text} is not an IPv{version} address, but {route.to} is"
                yield Finding((*loc, key), message, "use one IP version in a route")
    local = {str(ip_interface(text).ip) for text in addresses}
    if route.source is not None and route.source not in local:
        message = f"source {route.source} is not an address of the interface"
        yield Finding((*loc, "source"), message, "write one of its addresses")


def _rules(item: Loc, interface: InterfaceDocument) -> Iterator[Finding]:
    priorities = [rule.priority for rule in interface.rules]
    for k, rule in enumerate(interface.rules):
        if rule.source is None and rule.to is None:
            message = "rule has neither 'source' nor 'to', so it would match every packet"
            hint = "write source: 10.78.0.245/32 or to: 10.9.0.0/16"
            yield Finding((*item, "rules", k), message, hint)
        if rule.priority in priorities[:k]:
            message = f"two rules have the priority {rule.priority}"
            yield Finding((*item, "rules", k, "priority"), message, "give each its own")


def _nic(
    item: Loc,
    container: str,
    host: str,
    interface: InterfaceDocument,
    users: dict[tuple[str, str], str],
) -> Iterator[Finding]:
    """A NIC moves into a single container; `users` maps host and NIC to the first."""
    if interface.nic is None:
        return
    first = users.setdefault((host, interface.nic), container)
    if first != container:
        message = f"{host}'s NIC {interface.nic} is already in container '{first}'"
        yield Finding((*item, "nic"), message, "write macvlan to share a NIC")


def _same_address(
    item: Loc, name: str, interface: InterfaceDocument, owners: dict[tuple[str, int, str], str]
) -> Iterator[Finding]:
    """Addresses are unique in a network and VLAN; `owners` maps each to the first container."""
    network = interface.network or ""
    for text in interface.all_addresses if network else ():
        address = text.partition("/")[0]
        first = owners.setdefault((network, interface.vlan or 0, address), name)
        if first != name:
            message = f"containers '{first}' and '{name}' have the same address {address}"
            key = "address" if interface.address == text else "addresses"
            yield Finding((*item, key), message, "give each its own")

"""What each network mode means, judged by namespaces and links, not by names. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision import methods
from provision.checks.probe import Endpoint
from provision.facts.topology import (
    ContainerInfo,
    DnatRule,
    HostTopology,
    NamespaceLink,
    NetNamespace,
)
from provision.methods.pipework import nic
from provision.methods.pipework.pool import METHOD
from provision.model.inventory import Container, Inventory, Network, Port

Words = Iterator[str]


def wrong(inventory: Inventory, container: Container, wiring: HostTopology) -> tuple[str, ...]:
    """All that is not as the container's mode says; empty when it is."""
    found = wiring.containers.get(container.name)
    if found is None or not found.net:
        return (f"container {container.name} does not run on {container.host}",)
    if container.network == "host":
        return tuple(_host(inventory, container, found, wiring))
    if container.namespace_owner:
        return tuple(_shared(container.namespace_owner, found, wiring))
    apart = tuple(_apart(found, wiring))
    if apart:
        return apart
    space = wiring.namespaces[found.net]
    if container.network == "none":
        return tuple(_none(space, {one.name for one in container.interfaces}))
    network = inventory.networks.get(container.network)
    if network is not None and network.method == METHOD:
        return tuple(_on_lan(inventory, network, container.host, space, wiring))
    if any(route.to == "default" for one in container.interfaces for route in one.routes):
        return ()  # its own interface leads out, not the bridge
    return tuple(_bridged(_dockers_name(inventory, container), space, wiring))


def _dockers_name(inventory: Inventory, container: Container) -> str:
    """What Docker calls the network: its default bridge may be what a network is put on."""
    network = inventory.networks.get(container.network)
    if network is None:
        return container.network
    on = methods.of(network).docker_network(network, container.host)
    return "bridge" if on.kind == "docker0" else on.name


def _where(found: ContainerInfo, wiring: HostTopology) -> str:
    if found.net == wiring.root.inode:
        return "the host's"
    others = [
        one.name for one in wiring.namespace_owners() if one.net == found.net and one != found
    ]
    return f"that of container {others[0]}" if others else "one of its own"


def _apart(found: ContainerInfo, wiring: HostTopology) -> Words:
    """A namespace of its own: neither the host's nor one that another container brought."""
    where = _where(found, wiring)
    if where != "one of its own":
        yield f"its network namespace is {where}, not one of its own"


def _host(
    inventory: Inventory, container: Container, found: ContainerInfo, wiring: HostTopology
) -> Words:
    if found.net != wiring.root.inode:
        yield f"its network namespace is {_where(found, wiring)}, not the host's"
    elif inventory.hosts[container.host].address not in wiring.namespaces[found.net].addresses:
        yield f"it has not the host's address {inventory.hosts[container.host].address}"


def _shared(name: str, found: ContainerInfo, wiring: HostTopology) -> Words:
    owner = wiring.containers.get(name)
    if owner is None or not owner.net:
        yield f"container {name}, whose namespace it shares, does not run"
        return
    if found.net != owner.net:
        yield f"its network namespace is {_where(found, wiring)}, not that of container {name}"
    if found.mnt == owner.mnt:
        yield f"it has the file systems of {name}"
    if found.processes == owner.processes:
        yield f"it has the processes of {name}"


def _none(space: NetNamespace, ours: set[str]) -> Words:
    for link in space.links:
        if link.name != "lo" and link.name not in ours:
            yield f"it has an interface beside lo: {link.name} {_held(link)}".rstrip()
    for route in space.routes:
        if route.dev not in ours:
            yield f"it has a route: {route.dst} {route.via or route.dev}"


def _on_lan(
    inventory: Inventory, network: Network, host: str, space: NetNamespace, wiring: HostTopology
) -> Words:
    """Docker's veth is a port of the LAN's bridge, and leads to the LAN's router."""
    bridge = wiring.root.link(nic.options(network).bridge)
    if bridge is None:
        yield f"the host has no bridge {nic.options(network).bridge}"
        return
    if not any(_on(link, bridge, wiring) for link in space.links):
        yield from _unplugged(space, bridge, wiring)
        return
    router = nic.options(network).gateway or inventory.hosts[host].address
    told = [route.via for route in space.routes if route.dst == "default"]
    if told != [str(router)]:
        yield f"its default gateway is {' and '.join(told) or 'none'}, not {router}"


def _bridged(network: str, space: NetNamespace, wiring: HostTopology) -> Words:
    bridge = wiring.root.link(wiring.bridges.get(network, ""))
    if bridge is None:
        yield f"the host has no bridge of Docker's network {network}"
        return
    plugged = [link for link in space.links if _on(link, bridge, wiring)]
    if not plugged:
        yield from _unplugged(space, bridge, wiring)
        return
    ranges = [own.network for own in bridge.addresses]
    if not any(own.ip in part for own in plugged[0].addresses for part in ranges):
        held, parts = _held(plugged[0]) or "no address", ", ".join(map(str, ranges))
        yield f"{plugged[0].name} has {held}, none of {bridge.name}'s range {parts or '(none)'}"
    gateways = [route.via for route in space.routes if route.dst == "default"]
    if not any(str(own.ip) in gateways for own in bridge.addresses):
        told = gateways[0] if gateways else "none"
        expected = ", ".join(str(own.ip) for own in bridge.addresses) or "missing"
        yield f"its default gateway is {told}, not {bridge.name}'s address ({expected})"


def _on(link: NamespaceLink, bridge: NamespaceLink, wiring: HostTopology) -> bool:
    outer = wiring.host_end(link)
    return outer is not None and outer.master == bridge.name


def _unplugged(space: NetNamespace, bridge: NamespaceLink, wiring: HostTopology) -> Words:
    links = [link for link in space.links if link.name != "lo"]
    if not links:
        yield f"it has no interface but lo, so none on {bridge.name}"
    for link in links:
        outer = wiring.host_end(link)
        if outer is None:
            yield f"{link.name} is no veth whose outer end is on the host"
        else:
            at = f"a port of {outer.master}" if outer.master else "a port of no bridge"
            yield f"{outer.name}, the outer end of its {link.name}, is {at}, not of {bridge.name}"


def _held(link: NamespaceLink) -> str:
    return ", ".join(map(str, link.addresses))


def oversized(end: Endpoint, wiring: HostTopology) -> str:
    """How an interface sends larger packets than its network carries; empty where none does."""
    found = wiring.containers.get(end.container)
    space = wiring.namespaces.get(found.net) if found else None
    for link in space.links if space else ():
        if link.mtu > end.mtu and any(own.ip == end.address for own in link.addresses):
            return f"its {link.name} sends up to {link.mtu} bytes, the network carries {end.mtu}"
    return ""


def translation(container: Container, port: Port, wiring: HostTopology) -> DnatRule | None:
    """Docker's DNAT rule that leads a published port to where the container is now."""
    found = wiring.containers.get(container.name)
    space = wiring.namespaces.get(found.net) if found else None
    for rule in wiring.dnat_rules if space else ():
        asked = (rule.ip, rule.protocol, rule.port, rule.target)
        mine = (port.ip, port.protocol, port.published, port.target)
        if asked == mine and rule.to in space.addresses:  # type: ignore[union-attr]
            return rule
    return None

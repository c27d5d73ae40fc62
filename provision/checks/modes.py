"""Network modes, checked by namespaces and interfaces instead of by names. Pure.

Each function yields the differences between one mode's meaning and the host's topology.
"""

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
from provision.model.inventory import Container, Inventory, Network, Port

Differences = Iterator[str]
_SEPARATE = "one of its own"


def differences(
    inventory: Inventory, container: Container, topology: HostTopology
) -> tuple[str, ...]:
    """All differences between a container and its network mode; empty without any."""
    info = topology.container(container)
    if info is None or not info.net:
        return (f"container {container.name} does not run on {container.host}",)
    if container.network == "host":
        return tuple(_host(inventory, container, info, topology))
    if container.namespace_owner:
        return tuple(_shared(container.namespace_owner, info, topology))
    if separate := tuple(_separate(info, topology)):
        return separate
    return tuple(_own_namespace(inventory, container, topology.namespaces[info.net], topology))


def _own_namespace(
    inventory: Inventory, container: Container, namespace: NetNamespace, topology: HostTopology
) -> Differences:
    if container.network == "none":
        names = {interface.name for interface in container.interfaces}
        return _none(namespace, names)
    network = inventory.networks.get(container.network)
    # Before Docker 28 the default route of a container on several networks may be that of another
    # one: rules of ours stand before it (kind `connection`), whose absence is drift.
    if container.guest is not None or container.base or container.networks:
        return _on_network(inventory, container, namespace, topology)
    if network is not None and methods.of(network).on_hosts_lan:
        return _on_lan(inventory, network, container.host, namespace, topology)
    if any(route.to == "default" for i in container.interfaces for route in i.routes):
        return iter(())  # the default route leaves by its own interface instead of Docker's bridge
    return _bridged(_docker_network(inventory, container), namespace, topology)


def _on_network(
    inventory: Inventory,
    container: Container,
    namespace: NetNamespace,
    topology: HostTopology,
) -> Differences:
    """The container has an address of the network; its default route may be that of another."""
    network = inventory.networks.get(container.network)
    if network and not any(address in network.cidr for address in namespace.addresses):
        yield f"it has no address of {network.name} ({network.cidr})"
        return
    ref = topology.bridges.get(_docker_network(inventory, container), "")
    bridge = topology.root.link(ref)
    if bridge is not None and not any(_is_port(x, bridge, topology) for x in namespace.links):
        yield from _not_ports(namespace, bridge, topology)


def _docker_network(inventory: Inventory, container: Container) -> str:
    """Docker's name of the container's network: some methods use Docker's default bridge."""
    network = inventory.networks.get(container.network)
    if network is None:
        return container.network
    ref = methods.of(network).docker_network(network, container.host)
    return "bridge" if ref.kind == "docker0" else ref.name


def _owner(info: ContainerInfo, topology: HostTopology) -> str:
    """The owner of a container's network namespace, as a phrase."""
    if info.net == topology.root.inode:
        return "the host's"
    for container in topology.namespace_owners():
        if container.net == info.net and container != info:
            return f"that of container {container.name}"
    return _SEPARATE


def _separate(info: ContainerInfo, topology: HostTopology) -> Differences:
    owner = _owner(info, topology)
    if owner != _SEPARATE:
        yield f"its network namespace is {owner}, not {_SEPARATE}"


def _host(
    inventory: Inventory, container: Container, info: ContainerInfo, topology: HostTopology
) -> Differences:
    address = inventory.hosts[container.host].address
    if info.net != topology.root.inode:
        yield f"its network namespace is {_owner(info, topology)}, not the host's"
    elif address not in topology.namespaces[info.net].addresses:
        yield f"the host's address {address} is on none of its interfaces"


def _shared(name: str, info: ContainerInfo, topology: HostTopology) -> Differences:
    owner = topology.containers.get(name)
    if owner is None or not owner.net:
        yield f"container {name}, whose network namespace it shares, does not run"
        return
    if info.net != owner.net:
        yield f"its network namespace is {_owner(info, topology)}, not that of container {name}"
    # `--network container:NAME` shares the network namespace alone.
    if info.mnt == owner.mnt:
        yield f"it shares the mount namespace of container {name}, too"
    if info.processes == owner.processes:
        yield f"it shares the PID namespace of container {name}, too"


def _none(namespace: NetNamespace, expected: set[str]) -> Differences:
    for link in namespace.links:
        if link.name != "lo" and link.name not in expected:
            yield f"it has an interface besides lo: {link.name} {_addresses(link)}".rstrip()
    for route in namespace.routes:
        if route.dev not in expected:
            yield f"it has a route: {route.dst} {route.via or route.dev}"


def _on_lan(
    inventory: Inventory,
    network: Network,
    host: str,
    namespace: NetNamespace,
    topology: HostTopology,
) -> Differences:
    """The container must be on the LAN, and its gateway must be the LAN's router.

    Where the LAN has a bridge on the host, Docker's veth must be a port of it. Without a bridge and
    a router, Docker still sets a gateway, but no machine has that address.
    """
    method = methods.of(network)
    ref = method.interface_bridge(network, host)
    if ref is not None:
        bridge = topology.root.link(ref.name)
        if bridge is None:
            yield f"the host has no bridge {ref.name}"
            return
        if not any(_is_port(link, bridge, topology) for link in namespace.links):
            yield from _not_ports(namespace, bridge, topology)
            return
    elif not any(address in network.cidr for address in namespace.addresses):
        yield f"it has no address of the LAN {network.cidr}"
        return
    router = method.lan_router(network)
    if router is None and method.uses_bridge:
        router = inventory.hosts[host].address
    gateways = _gateways(namespace)
    if router is not None and gateways != [str(router)]:
        yield f"its default gateway is {' and '.join(gateways) or 'none'}, not {router}"


def _bridged(network: str, namespace: NetNamespace, topology: HostTopology) -> Differences:
    bridge = topology.root.link(topology.bridges.get(network, ""))
    if bridge is None:
        yield f"the host has no bridge for Docker's network {network}"
        return
    ports = [link for link in namespace.links if _is_port(link, bridge, topology)]
    if not ports:
        yield from _not_ports(namespace, bridge, topology)
        return
    ranges = [held.network for held in bridge.addresses]
    if not any(held.ip in subnet for held in ports[0].addresses for subnet in ranges):
        has, expected = _addresses(ports[0]) or "no address", ", ".join(map(str, ranges))
        yield f"{ports[0].name} has {has}, not one of {bridge.name}'s range ({expected or 'none'})"
    # Docker gives the gateway's address to the bridge itself.
    gateways = _gateways(namespace)
    if not any(str(held.ip) in gateways for held in bridge.addresses):
        has = gateways[0] if gateways else "none"
        expected = ", ".join(str(held.ip) for held in bridge.addresses) or "missing"
        yield f"its default gateway is {has}, not {bridge.name}'s address ({expected})"


def _gateways(namespace: NetNamespace) -> list[str]:
    return [route.via for route in namespace.routes if route.dst == "default"]


def _is_port(link: NamespaceLink, bridge: NamespaceLink, topology: HostTopology) -> bool:
    host_end = topology.host_end(link)
    return host_end is not None and host_end.master == bridge.name


def _not_ports(
    namespace: NetNamespace, bridge: NamespaceLink, topology: HostTopology
) -> Differences:
    links = [link for link in namespace.links if link.name != "lo"]
    if not links:
        yield f"it has no interface but lo, so none on {bridge.name}"
    for link in links:
        host_end = topology.host_end(link)
        if host_end is None:
            yield f"{link.name} is not a veth with its other end on the host"
        else:
            master = f"a port of {host_end.master}, " if host_end.master else ""
            state = f"{master}not of {bridge.name}" if master else f"not a port of {bridge.name}"
            yield f"{host_end.name}, the host's end of its {link.name}, is {state}"


def _addresses(link: NamespaceLink) -> str:
    return ", ".join(map(str, link.addresses))


def _namespace(container: str, topology: HostTopology) -> NetNamespace | None:
    info = topology.containers.get(container)
    return topology.namespaces.get(info.net) if info else None


def container_link(endpoint: Endpoint, topology: HostTopology) -> NamespaceLink | None:
    """The interface that holds the endpoint's address."""
    namespace = _namespace(endpoint.docker or endpoint.container, topology)
    for link in namespace.links if namespace else ():
        if any(held.ip == endpoint.address for held in link.addresses):
            return link
    return None


def dnat_rule(container: Container, port: Port, topology: HostTopology) -> DnatRule | None:
    """Docker's DNAT rule that forwards a published port to an address of the container."""
    namespace = _namespace(container.name, topology)
    addresses = namespace.addresses if namespace else frozenset()
    published = (port.ip, port.protocol, port.published, port.target)
    for rule in topology.dnat_rules:
        matches = (rule.ip, rule.protocol, rule.port, rule.target) == published
        if matches and rule.to in addresses:
            return rule
    return None

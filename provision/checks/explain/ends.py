"""The two ends of a probe: containers and hosts of the inventory, or an IPv4 address. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink, NetNamespace
from provision.model.errors import UsageError
from provision.model.inventory import Container, Inventory, further_name
from provision.model.suggest import nearest
from provision.model.text import count, listed


@dataclass(frozen=True, slots=True)
class End:
    """An end as the inventory describes it.

    `host` is empty for an address outside of it. `container` is None for a host or an address.
    """

    name: str
    host: str
    container: Container | None = None
    address: IPv4Address | None = None


def end(inventory: Inventory, name: str, argument: str) -> End:
    """The end that a user names; `argument` is FROM or TO. Raises UsageError."""
    if name in inventory.members:
        container = inventory.members[name]
        return End(name, container.host, container)
    if name in inventory.hosts:
        return End(name, name, None, inventory.hosts[name].address)
    address = _address(name)
    if address and argument == "TO":
        return End(name, _host_of(inventory, address), None, address)
    known = _by_dns_name(inventory, name)
    if len(known) == 1:
        return End(known[0].name, known[0].host, known[0])
    if known:
        raise UsageError(
            f"{argument} {name}: {count(len(known), 'container')} have this name",
            f"Name one of them: {listed(tuple(each.name for each in known))}",
        )
    names = (*inventory.members, *inventory.hosts)
    suggestion = nearest(name, names)
    hint = f"Did you mean {suggestion}? " if suggestion else ""
    allowed = "a container or a host" + (" of it, or an IPv4 address" if argument == "TO" else "")
    raise UsageError(
        f"{argument} {name}: the inventory has no container and no host of this name",
        f"{hint}Name {allowed}",
    )


def _by_dns_name(inventory: Inventory, name: str) -> list[Container]:
    """The containers with a name as a network's DNS has it: an alias, or `NAME.NETWORK`."""
    return [
        container
        for container in inventory.members.values()
        for alias in (container.own_name, *container.aliases)
        if name == further_name(alias, container.network) or (name == alias and not container.base)
    ]


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _host_of(inventory: Inventory, address: IPv4Address) -> str:
    """The host that has an address, or whose containers have it; empty if none does."""
    for host in inventory.hosts.values():
        if host.address == address:
            return host.name
    for container in inventory.members.values():
        if address in (container.address, *map(_ip, _texts(container))):
            return container.host
    for network in inventory.networks.values():
        for name, subnet in network.subnets.items():
            if address in subnet:
                return name
    return ""


def _texts(container: Container) -> list[str]:
    return [text for interface in container.interfaces for text in interface.addresses]


def _ip(text: str) -> IPv4Address:
    return IPv4Address(text.partition("/")[0])


@dataclass(frozen=True, slots=True)
class EndSpace:
    """An end as its host shows it: a network namespace, and a process in it.

    `label` is `host`, or `+NAME` of the container whose namespace it is.
    """

    label: str
    pid: int
    space: NetNamespace
    info: ContainerInfo | None = None


def label_of(name: str) -> str:
    """The label of a container's namespace; no host has it, whatever the container is called."""
    return f"+{name}"


def end_space(inventory: Inventory, topology: HostTopology, point: End) -> EndSpace | None:
    """The namespace of an end on its host; None if the container does not run."""
    if point.container is None:
        return EndSpace("host", 1, topology.root)
    info = topology.container(point.container)
    space = topology.namespaces.get(info.net) if info else None
    if info is None or space is None:
        return None
    if space is topology.root or space.inode == topology.root.inode:
        return EndSpace("host", 1, topology.root, info)
    owner = next((c for c in topology.namespace_owners() if c.net == info.net), info)
    del inventory
    return EndSpace(label_of(owner.name), info.pid, space, info)


def links(space: NetNamespace) -> list[NamespaceLink]:
    """The interfaces of a container, without lo."""
    return [link for link in space.links if link.name != "lo"]


def common_address(
    inventory: Inventory, source: EndSpace | None, target: EndSpace, container: Container
) -> tuple[NamespaceLink, IPv4Address] | None:
    """The interface and address at which the target is reached from the source, if any.

    The first address in a range of the inventory in which the source has an address, too; else the
    first in such a range; else the first of all. The container's own networks count first, in the
    order of the file.
    """
    ranges = [network.cidr for network in inventory.networks.values()]
    preferred = _own_ranges(inventory, container)
    held = [(link, a.ip) for link in links(target.space) for a in link.addresses]
    near = [n for n in ranges if source and any(a in n for a in source.space.addresses)]
    shared = [n for n in preferred if n in near or container.base]
    for candidates in (
        *([n] for n in shared), near, *([n] for n in preferred), ranges, [IPv4Network("0.0.0.0/0")]
    ):  # fmt: skip
        for link, address in held:
            if any(address in network for network in candidates):
                return link, address
    return None


def _own_ranges(inventory: Inventory, container: Container) -> list[IPv4Network]:
    """The ranges of a container that is on several networks, in order; of a member, its own."""
    names = [container.network, *(further.name for further in container.networks)]
    several = container.networks or container.base
    networks = inventory.networks
    return [networks[name].cidr for name in names if several and name in networks]


def source_link(
    inventory: Inventory, source: EndSpace, target: IPv4Address
) -> tuple[NamespaceLink, IPv4Address] | None:
    """The interface and address of a container from which it should send to a target."""
    ranges = [network.cidr for network in inventory.networks.values()]
    held = [(link, a) for link in links(source.space) for a in link.addresses]
    for link, interface in held:
        if target in interface.network:
            return link, interface.ip
    for link, interface in held:
        if any(interface.ip in network and target in network for network in ranges):
            return link, interface.ip
    for route in source.space.routes:
        if route.dst == "default":
            for link, interface in held:
                if link.name == route.dev:
                    return link, interface.ip
    return (held[0][0], held[0][1].ip) if held else None

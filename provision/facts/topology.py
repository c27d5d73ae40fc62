"""How a host is wired: links, bridges, the namespaces of its containers, its NAT rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface


@dataclass(frozen=True, slots=True)
class NamespaceLink:
    """An interface in one namespace; `peer` is the index of a veth's other end."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: str
    peer: int
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True)
class NamespaceRoute:
    """A route of the main table; `dst` is `default` or a range, `via` empty on the link."""

    dst: str
    via: str
    dev: str


@dataclass(frozen=True, slots=True)
class NetNamespace:
    """A network namespace, named by its inode."""

    inode: int
    links: tuple[NamespaceLink, ...]
    routes: tuple[NamespaceRoute, ...]

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """Every address that an interface in it holds."""
        return frozenset(own.ip for link in self.links for own in link.addresses)

    def link(self, name: str) -> NamespaceLink | None:
        """The interface of this name."""
        return next((link for link in self.links if link.name == name), None)


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container, ours or not; without a process its inodes are 0.

    `mode` is Docker's own word, with `container:` the other's name; `published` are pairs of a
    place on the host (`0.0.0.0:8080`) and a port inside (`80/tcp`).
    """

    name: str
    mark: str
    image: str
    status: str
    mode: str
    pid: int
    net: int
    mnt: int
    processes: int
    published: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DnatRule:
    """A DNAT rule of Docker's, and how much took it; `ip` is None where every address counts."""

    ip: IPv4Address | None
    protocol: str
    port: int
    to: IPv4Address
    target: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class HostTopology:
    """One host; `bridges` gives the Linux bridge of each of Docker's networks.

    `undocked` says why Docker told nothing: then only the host's own links, routes and rules are
    known.
    """

    host: str
    root: NetNamespace
    namespaces: Mapping[int, NetNamespace]
    containers: Mapping[str, ContainerInfo]
    bridges: Mapping[str, str]
    nat: tuple[str, ...]
    dnat_rules: tuple[DnatRule, ...]
    docker_error: str = ""

    def outer(self, link: NamespaceLink) -> NamespaceLink | None:
        """The host's end of a container's veth."""
        return next(
            (
                other
                for other in self.root.links
                if link.kind == other.kind == "veth"
                and other.index == link.peer
                and other.peer == link.index
            ),
            None,
        )

    def inner(self, outer: NamespaceLink) -> tuple[ContainerInfo, NamespaceLink] | None:
        """The container that owns the other end of a host's veth, and that end."""
        for lodger in self.owners():
            for link in self.namespaces[lodger.net].links:
                if self.outer(link) == outer:
                    return lodger, link
        return None

    def owners(self) -> Iterator[ContainerInfo]:
        """Running containers that have a network namespace of their own."""
        for lodger in self.containers.values():
            apart = lodger.net and lodger.net != self.root.inode
            if apart and not lodger.mode.startswith("container:"):
                yield lodger

    def ports(self, bridge: str) -> tuple[NamespaceLink, ...]:
        """The interfaces that are ports of a bridge."""
        return tuple(link for link in self.root.links if link.master == bridge)

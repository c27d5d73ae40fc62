"""The topology of a host: interfaces, bridges, containers' namespaces, NAT rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision.facts import docker_entry
from provision.model.inventory import Container
from provision.resources.on_hosts import Mark

OVS_BRIDGE = "openvswitch"
"""The kind of a bridge of Open vSwitch: of its own interface, of both datapaths."""


@dataclass(frozen=True, slots=True)
class NamespaceLink:
    """An interface in one namespace.

    `index` is its ifindex, `master` the bridge it is a port of, of Linux or of Open vSwitch. `peer`
    is the ifindex of a veth's other end or of a macvlan's NIC in another namespace, `lower` its
    name in the same namespace. `carrier` is False where the cable or the other end is missing.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: str
    peer: int
    addresses: tuple[IPv4Interface, ...]
    carrier: bool = True
    lower: str = ""


@dataclass(frozen=True, slots=True)
class WireguardPeer:
    """A peer of a WireGuard device, as `wg` prints it.

    `endpoint` is None where the device does not know it, or for IPv6. `handshake_s`: age of the
    last handshake in seconds; None: there was none.
    """

    public: str
    endpoint: IPv4Address | None
    allowed: tuple[IPv4Network, ...]
    handshake_s: int | None


@dataclass(frozen=True, slots=True)
class WireguardEnd:
    """What a WireGuard device has besides that of every device. `port`: its UDP port."""

    public: str
    port: int
    peers: tuple[WireguardPeer, ...]

    def peer(self, subnet: IPv4Network) -> WireguardPeer | None:
        """The peer to which the device sends the packets for a subnet."""
        return next((p for p in self.peers if any(subnet.subnet_of(n) for n in p.allowed)), None)


@dataclass(frozen=True, slots=True)
class TunnelEnd:
    """A host's end of tunnels: a device of the kernel, or a tunnel port of Open vSwitch.

    `device` is the kernel's interface, empty for a port of Open vSwitch, which has none. `bridge`
    is the bridge that it is a port of. `remotes` are the addresses of the hosts that it sends to,
    empty for a `tun` device, whose program knows them. Two ends fit if `kind` and `key` are equal:
    VXLAN's VNI, or the key of GRE. `error`: why it does not work. wireguard-go's device is a `tun`.
    """

    name: str
    kind: str
    device: str
    bridge: str
    remotes: tuple[IPv4Address, ...]
    key: str = ""
    error: str = ""
    wireguard: WireguardEnd | None = None


@dataclass(frozen=True, slots=True)
class NamespaceRoute:
    """A route of the main table; `dst` is `default` or a range, `via` empty without a gateway."""

    dst: str
    via: str
    dev: str


@dataclass(frozen=True, slots=True)
class NetNamespace:
    """A network namespace, identified by its inode."""

    inode: int
    links: tuple[NamespaceLink, ...]
    routes: tuple[NamespaceRoute, ...]

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """Every address that an interface in it holds."""
        return frozenset(held.ip for link in self.links for held in link.addresses)

    def link(self, name: str) -> NamespaceLink | None:
        """The interface of this name."""
        return next((link for link in self.links if link.name == name), None)


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container, ours or not.

    `mode` is Docker's NetworkMode, with the name of the owner after `container:`. `net`, `mnt` and
    `processes` are the inodes of its network, mount and PID namespaces, 0 while it does not run.
    `published` are pairs of an address on the host (`0.0.0.0:8080`) and a port inside (`80/tcp`).
    """

    name: str
    mark: Mark
    image: str
    status: str
    mode: str
    pid: int
    net: int
    mnt: int
    processes: int
    published: tuple[tuple[str, str], ...]
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def running(self) -> bool:
        """True if its processes live."""
        return bool(self.net)


@dataclass(frozen=True, slots=True)
class DnatRule:
    """A DNAT rule of Docker with its counters; `ip` is None if it matches every address."""

    ip: IPv4Address | None
    protocol: str
    port: int
    to: IPv4Address
    target: int
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class HostTopology:
    """The topology of one host.

    `namespaces` are by inode, `containers` by name; `bridges` gives the Linux bridge of each Docker
    network. `nat` is the output of `iptables -t nat -S`, by line. `docker_error` is the reason why
    Docker did not answer: then only the host's own interfaces, routes and rules are known.
    `vlans` are the tags of Open vSwitch's access ports. `ovs_error`: why Open vSwitch, which is
    installed, forwards nothing, or cannot be read.
    """

    host: str
    root: NetNamespace
    namespaces: Mapping[int, NetNamespace]
    containers: Mapping[str, ContainerInfo]
    bridges: Mapping[str, str]
    nat: tuple[str, ...]
    dnat_rules: tuple[DnatRule, ...]
    docker_error: str = ""
    tunnels: tuple[TunnelEnd, ...] = ()
    vlans: Mapping[str, int] = field(default_factory=dict)
    ovs_error: str = ""

    def host_end(self, link: NamespaceLink) -> NamespaceLink | None:
        """The host's end of a container's veth; None for another interface."""
        # An ifindex counts within its namespace: both ends must name each other.
        ends = (
            end
            for end in self.root.links
            if link.kind == end.kind == "veth" and (end.index, end.peer) == (link.peer, link.index)
        )
        return next(ends, None)

    def container(self, container: Container) -> ContainerInfo | None:
        """A container of the inventory; a guest has the name that others gave it."""
        if container.guest is None:
            return self.containers.get(container.own_name)
        return docker_entry.single(container.guest, self.containers.values())

    def container_end(self, host_end: NamespaceLink) -> tuple[ContainerInfo, NamespaceLink] | None:
        """The container at the other end of a host's veth, and its interface there."""
        for container in self.namespace_owners():
            for link in self.namespaces[container.net].links:
                if self.host_end(link) == host_end:
                    return container, link
        return None

    def namespace_owners(self) -> Iterator[ContainerInfo]:
        """Running containers with a network namespace of their own."""
        for container in self.containers.values():
            separate = container.net and container.net != self.root.inode
            if separate and not container.mode.startswith("container:"):
                yield container

    def ports(self, bridge: str) -> tuple[NamespaceLink, ...]:
        """The interfaces that are ports of a bridge."""
        return tuple(link for link in self.root.links if link.master == bridge)

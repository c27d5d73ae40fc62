"""Facts of a host before anything of ours: tools, versions, interfaces, routes to its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple, TypeVar

from provision.facts.docker_entry import DockerEntry
from provision.facts.firewall import Firewall
from provision.facts.nics import Nic
from provision.facts.peer_routes import PeerRoutes
from provision.facts.policy import Policy
from provision.resources.base import Ref
from provision.resources.lib import ovsdb
from provision.resources.lib.nic_records import NicRoute, OriginalNic

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `mtu` in bytes of IP packet."""

    name: str
    mtu: int
    addresses: tuple[IPv4Interface, ...]
    altnames: tuple[str, ...] = field(default=(), repr=False)
    """Further names, which no other interface can have either."""
    up: bool = field(default=True, repr=False)


class PortNic(NamedTuple):
    """A NIC that is a port of the resource `bridge`, or becomes one by the next change."""

    nic: str
    bridge: Ref


class PortListener(NamedTuple):
    """A program that listens at a port; `address` is as `ss` prints it, `*` for all."""

    protocol: str
    address: str
    port: int
    program: str


class KernelRoute(NamedTuple):
    """A route of the main table; `proto` is the kernel's number for the program that made it.

    `via` is the address of the router, empty for none. `dev` is empty for a route that refuses its
    packets, `type` then the word for that (`blackhole`), and for one with several gateways.
    """

    dst: IPv4Network
    dev: str
    proto: int
    text: str = ""
    via: str = ""
    type: str = ""

    @property
    def key(self) -> str:
        """The text of `dst`, which is compared in less time than `dst`."""
        return self.text or str(self.dst)


@dataclass(frozen=True, slots=True)
class AppliedFrom:
    """The inventory file that was applied to a host last, and `USER@MACHINE` of its controller."""

    path: str
    owner: str

    @property
    def machine(self) -> str:
        """The controller's host name."""
        return self.owner.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts of one host, from one snapshot.

    `uid` is that of the login. `docker` is the version of the server, empty while it does not
    answer; `docker_error` then says why. `package_manager` is a command, empty for an
    unknown one. `docker_candidate` is, where no server answers, the version of the one that is
    installed, else of the one that the package manager would install; empty if it is unknown.
    """

    host: str
    systemd: bool
    uid: int
    tools: frozenset[str]
    docker: tuple[int, ...]
    docker_error: str
    live_restore: bool
    rootless: bool
    links: dict[str, Link]
    peer_routes: PeerRoutes
    routes: tuple[KernelRoute, ...]
    """Those that lead to one device."""
    package_manager: str = ""
    docker_candidate: tuple[int, ...] = ()
    incomplete_packages: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Packages that are installed without a command of theirs, by command."""
    nics: Mapping[str, Nic] = field(default_factory=dict)
    bridged_nics: Mapping[str, OriginalNic] = field(default_factory=dict)
    """Original NICs that this inventory has made ports, by bridge."""
    routes_without_device: tuple[KernelRoute, ...] = ()
    """Those that refuse their packets, and those with several gateways."""
    default_routes: tuple[NicRoute, ...] = ()
    """Default routes of every table, each with its device."""
    nics_in_containers: frozenset[str] = frozenset()
    """NICs that this inventory moved into containers: the host's namespace does not show them."""
    ssh_from: IPv4Address | None = None
    """The address that this SSH login came from; None over IPv6, or without SSH."""
    ssh_to: IPv4Address | None = None
    """The host's own address that this SSH login came to."""
    guard_files: tuple[str, ...] = ()
    """Names of the files that the guard keeps on the host during a change."""
    default_bridge: bool = field(default=True, repr=False)
    """False if Docker has no network `bridge`: daemon.json says `"bridge": "none"`."""
    docker0_isolates: bool = field(default=False, repr=False)
    """True if Docker keeps containers on its default bridge from each other: `"icc": false`."""
    network_defaults: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Options that dockerd gives to new networks, by driver: its `default-network-opts`."""
    foreign_files: frozenset[str] = frozenset()
    """Files under names that provision gives, without this inventory's mark."""
    blocked_folders: frozenset[str] = frozenset()
    """Folders of provision in whose place there is a file or a symbolic link."""
    applied_from: AppliedFrom | None = None
    """The file of this inventory's name that was applied last; None without a record."""
    not_forwarding: frozenset[str] = frozenset()
    """Interfaces that forward nothing although `ip_forward` is 1, and those that this inventory
    has changed because of that."""
    networkd_files: Mapping[str, str] = field(default_factory=dict)
    """The file by which systemd-networkd manages an interface, by interface."""
    policy: Policy = field(default_factory=Policy)
    """Rules by which packets do not go by the main table."""
    firewall: Firewall = field(default_factory=Firewall, repr=False)
    listeners: tuple[PortListener, ...] = field(default=(), repr=False)
    """Programs of others that listen at ports which the host's networks may need."""
    ip_settings: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """rp_filter and arp_ignore, by interface and for `all`; without an entry both are 0."""
    podman: bool = field(default=False, repr=False)
    """True if Podman answers at Docker's socket."""
    nftables_backend: bool = field(default=False, repr=False)
    """True if Docker makes its rules by nftables: then there is no chain DOCKER-USER.

    While Docker does not answer: if the host has a table of ours, which is for such a Docker.
    """
    architecture: str = ""
    """The architecture, as `uname -m` prints it."""
    ovs_nic_by_bridge: dict[str, str] = field(default_factory=dict)
    """NICs that are ports of our Open vSwitch bridges, by bridge."""
    port_nics: Mapping[str, PortNic] = field(default_factory=dict)
    """NICs that networks of this inventory make ports, by the interface that holds, or will hold,
    their addresses."""
    docker_containers: tuple[DockerEntry, ...] = field(default=(), repr=False)
    """Containers of the host's Docker, ours or not."""
    guests: frozenset[str] = frozenset()
    """Names of the guests that this inventory has claimed."""
    of_methods: Mapping[type, object] = field(default_factory=dict)
    """Facts that only the methods of the host's networks need, by type."""

    def filters_strictly(self, nic: str) -> bool:
        """True if the NIC drops packets whose answer would leave by another interface."""
        return self._ip_setting(nic, 0) == 1

    def arp_ignore(self, nic: str) -> bool:
        """True if the NIC does not answer ARP requests for addresses of other interfaces."""
        return self._ip_setting(nic, 1) > 0

    def _ip_setting(self, nic: str, index: int) -> int:
        return max(self.ip_settings.get(name, (0, 0))[index] for name in (nic, "all"))

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open on the host, or is being rolled back."""
        return any(name == "txn" or name.startswith("reverting.") for name in self.guard_files)

    def of(self, kind: type[T]) -> T:
        """The facts of this type that a method's probe has read; its defaults without a probe."""
        value = self.of_methods.get(kind)
        return value if isinstance(value, kind) else kind()

    def carrier(self, dev: str) -> str:
        """The NIC below `dev`: the port of our bridge of that name, or `dev` itself."""
        if dev in self.port_nics:
            return self.port_nics[dev].nic
        # The bridge is named after its NIC, which helps while ovsdb-server does not run.
        nic = dev.removeprefix(ovsdb.NIC_BRIDGE_PREFIX)
        return self.ovs_nic_by_bridge.get(dev) or (nic if nic in self.links else dev)

    def has_name(self, name: str) -> bool:
        """True if an interface, or a file that does not have our mark, has this name."""
        if name.startswith("/"):
            return name in self.foreign_files
        return name in self.links or any(name in link.altnames for link in self.links.values())

    def link_with(self, address: IPv4Address) -> Link | None:
        """The interface that holds `address`."""
        for link in self.links.values():
            if any(address == held.ip for held in link.addresses):
                return link
        return None

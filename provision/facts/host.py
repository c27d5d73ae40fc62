"""Facts of a host before anything of ours: tools, versions, interfaces, routes to its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision.facts.nics import Nic
from provision.resources.lib import ovsdb
from provision.resources.lib.nic_records import NicRoute, OriginalNic


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; `mtu` in bytes of IP packet."""

    name: str
    mtu: int
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, slots=True)
class PeerRoute:
    """The kernel's route to a peer: out of `dev`, `via` a gateway or directly."""

    dev: str
    via: IPv4Address | None


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """A route of the main table; `proto` is the kernel's number for the program that made it."""

    dst: IPv4Network
    dev: str
    proto: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts of one host, from one snapshot.

    `uid` is that of the login. `docker` is the version of the server, empty while it does not
    answer; `docker_error` then says why. `package_manager` is a command, empty for an
    unknown one. `docker_candidate` is the version of Docker that it would install, empty where
    Docker is installed or the version is unknown.
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
    peer_routes: dict[IPv4Address, PeerRoute]
    routes: tuple[KernelRoute, ...]
    package_manager: str = ""
    docker_candidate: tuple[int, ...] = ()
    nics: Mapping[str, Nic] = field(default_factory=dict)
    bridged_nics: Mapping[str, OriginalNic] = field(default_factory=dict)
    """Original NICs that this inventory has made ports, by bridge."""
    default_routes: tuple[NicRoute, ...] = ()
    """Default routes of every table, each with its device."""
    dns: tuple[str, ...] = ()
    """Lines of resolv.conf, without comments."""
    addresses_in_use: Mapping[str, str] = field(default_factory=dict)
    """Addresses wanted for containers that another machine on the LAN has, with its answer."""
    router_arp_errors: Mapping[str, str] = field(default_factory=dict)
    """Routers for which no machine on the LAN answers, or several do, with their answers."""
    nics_in_containers: frozenset[str] = frozenset()
    """NICs that this inventory moved into containers: the host's namespace does not show them."""
    filters_vlans: bool = True
    """False when a Linux bridge of the host has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING).

    A host without any bridge is taken for one that has it."""
    ssh_from: IPv4Address | None = None
    """The address that this SSH login came from; None over IPv6, or without SSH."""
    ssh_to: IPv4Address | None = None
    """The host's own address that this SSH login came to."""
    guard_files: tuple[str, ...] = ()
    """Names of the files that the guard keeps on the host during a change."""
    architecture: str = ""
    """The architecture, as `uname -m` prints it."""
    flanneld: str = ""
    """Path of a flanneld that the host had before us; empty where there is none."""
    flanneld_version: tuple[int, ...] = ()
    tls_files: dict[str, str] = field(default_factory=dict)
    """Certificate requests and CA certificates, by the names of their files."""
    ovs_nic_by_bridge: dict[str, str] = field(default_factory=dict)
    """NICs that are ports of our Open vSwitch bridges, by bridge."""
    kernel_datapath: bool = False
    """True if the kernel has the datapath of Open vSwitch, loaded or as a module."""

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open on the host, or is being rolled back."""
        return any(name == "txn" or name.startswith("reverting.") for name in self.guard_files)

    def carrier(self, dev: str) -> str:
        """The NIC below `dev`: the port of our bridge of that name, or `dev` itself."""
        # The bridge is named after its NIC, which helps while ovsdb-server does not run.
        nic = dev.removeprefix(ovsdb.NIC_BRIDGE)
        return self.ovs_nic_by_bridge.get(dev) or (nic if nic in self.links else dev)

    def link_with(self, address: IPv4Address) -> Link | None:
        """The interface that holds `address`."""
        for link in self.links.values():
            if any(address == held.ip for held in link.addresses):
                return link
        return None

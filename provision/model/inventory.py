"""The inventory: the frozen values that all other modules read. `inventory.load` makes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from shlex import quote
from typing import Protocol

from provision.model.access import Access
from provision.model.findings import Finding
from provision.model.login import Ssh as Ssh


@dataclass(frozen=True, slots=True)
class Host:
    """A managed host.

    `name` is the name that ssh knows; `address` is the IPv4 address that its peers reach; `nic` is
    the NIC that has this address (None: the interface of the route to the peers); `host_key` is
    the type and base64 of its public key, the only one that is accepted.
    """

    name: str
    address: IPv4Address
    nic: str | None = None
    host_key: str | None = None
    ssh: Ssh = field(default_factory=Ssh)


class MethodOptions(Protocol):
    """The keys of a method in a network; each method has a frozen dataclass of its own."""

    method: str


@dataclass(frozen=True, slots=True)
class LocalBinary:
    """An executable on the controller that is copied to hosts; `sha256` in hex."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network over several hosts.

    `subnets` maps every host of it to its part of `cidr`, in the order of the network's hosts;
    `mtu` is in bytes, None: derived from the NICs; `egress` is `masquerade` or `none`.
    """

    name: str
    method: str
    cidr: IPv4Network
    subnets: Mapping[str, IPv4Network]
    mtu: int | None
    egress: str
    options: MethodOptions
    files: Mapping[str, LocalBinary] = field(default_factory=dict)
    """Files of the controller that its hosts get, by the option that names each."""
    host_options: Mapping[str, object] = field(default_factory=dict)
    """The method's own key of each host that has one, by host (`Method.HostOptions`)."""
    names: str | None = None
    """The domain of its containers' names; empty: names without a domain; None: no names."""
    written: frozenset[str] = frozenset()
    """Hosts whose subnet the file gives by `subnets`."""
    sized: bool = False
    """The file gives the size of subnets by `subnet_size`."""
    kept: Mapping[str, IPv4Network] = field(default_factory=dict)
    """The subnets that hosts were found to have, where the file alone gives others."""
    access: Access | None = None
    """None: what reaches its containers from outside is left to Docker and the method."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Texts that the file does not hold, by the option that names each (`Method.secrets`)."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of its hosts, in order."""
        return tuple(self.subnets)


@dataclass(frozen=True, slots=True)
class Image:
    """A Docker image: a reference to pull, or an archive of `docker save` on the controller.

    `layers` are the digests of the archive's layers, such as `sha256:…`.
    """

    ref: str
    archive: Path | None = None
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A host port that is published for a container; `ip` None: at all addresses of the host."""

    ip: IPv4Address | None
    published: int
    target: int
    protocol: str

    def __str__(self) -> str:
        ip = f"{self.ip}:" if self.ip else ""
        return f"{ip}{self.published}:{self.target}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class InterfaceRoute:
    """A route in a container; `to` is a range or `default`, `via` empty for a range on the link."""

    to: str
    via: str = ""
    source: str = ""
    metric: int = 0
    table: int = 254  # the main table


@dataclass(frozen=True, slots=True)
class InterfaceRule:
    """A routing rule in a container; an empty `source` or `to` matches every address."""

    priority: int
    table: int
    source: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a container in addition to those of Docker.

    Exactly one of these is set: `network` (a veth into the bridge of that network), `macvlan` (the
    host's NIC that is the parent) or `nic` (a NIC of the host, moved into the container).
    `addresses` have a prefix length. `mac` empty: keep that of the NIC. `vlan` 0: untagged.
    `mtu` in bytes, 0: that of the bridge or NIC.
    """

    name: str
    network: str = ""
    macvlan: str = ""
    nic: str = ""
    addresses: tuple[str, ...] = ()
    routes: tuple[InterfaceRoute, ...] = ()
    rules: tuple[InterfaceRule, ...] = ()
    mac: str = ""
    vlan: int = 0
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Guest:
    """A container that provision does not make, and its connection to `network`.

    `selector` is `container` with the container's name, or `label` with KEY=VALUE, as `text`.
    `waits`: it may be absent when the inventory is applied first. `declared` is False for a
    container that was found on a network and stands in no file. `position` is its line in the file.
    """

    name: str
    host: str
    network: str
    selector: str
    text: str
    address: IPv4Address | None = None
    waits: bool = False
    declared: bool = True
    position: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FurtherNetwork:
    """A network that a container is on besides its first; `address` None: Docker chooses one."""

    name: str
    address: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class ContainerSetting:
    """A setting of a container, such as `user` or `labels.com.example.role`.

    `value` is text, or a list of texts as JSON.
    """

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class Container:
    """A container. An empty `command` means the default command of the image.

    `network` is a network of the inventory, or a mode of Docker: `bridge`, `host`, `none`, or
    `container:NAME` for the network namespace of another container on the same host.
    `env` are sorted pairs of name and value, `volumes` sorted texts SOURCE:TARGET[:MODE].
    `guest` is set for a member of a network that provision does not make (`Inventory.members`).
    `depends_on` are containers of the same host that start before it. `networks` are further ones;
    the default route is that of `network`. `base` is set for a member of one of those
    (`Inventory.members`): the name of the container itself.
    """

    name: str
    host: str
    network: str
    image: Image
    command: tuple[str, ...]
    address: IPv4Address | None
    restart: str
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    volumes: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    mac: str | None = None
    interfaces: tuple[Interface, ...] = ()
    guest: Guest | None = None
    aliases: tuple[str, ...] = ()
    """Further names in DNS, in the order of the file."""
    service: str = ""
    """A name in DNS that several containers share; empty for none."""
    settings: tuple[ContainerSetting, ...] = ()
    depends_on: tuple[str, ...] = ()
    networks: tuple[FurtherNetwork, ...] = ()
    base: str = ""

    @property
    def own_name(self) -> str:
        """The name of the container itself, which a member of a further network has in `base`."""
        return self.base or self.name

    @property
    def is_declared(self) -> bool:
        """False for a container that was found on a network and stands in no file."""
        return self.guest is None or self.guest.declared

    @property
    def namespace_owner(self) -> str | None:
        """Name of the container whose network namespace this container joins."""
        mode, _, name = self.network.partition(":")
        return name if mode == "container" else None


def guest_member(guest: Guest) -> Container:
    """A guest as a member of its network, for everything that asks about members only."""
    return Container(
        guest.name, guest.host, guest.network, Image(""), (), guest.address, "", guest=guest
    )


def further_name(container: str, network: str) -> str:
    """The name of a container as a member of a further network, as in DNS: `web.red`."""
    return f"{container}.{network}"


def further_members(container: Container) -> Iterator[Container]:
    """Yield a container as a member of each of its further networks."""
    for further in container.networks:
        yield replace(
            container,
            name=further_name(container.name, further.name),
            network=further.name,
            address=further.address,
            mac=None,
            ports=(),
            networks=(),
            base=container.name,
        )


@dataclass(frozen=True, slots=True)
class Inventory:
    """An inventory file: all objects on hosts with the mark `provision:NAME`."""

    name: str
    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    networks: Mapping[str, Network]
    containers: Mapping[str, Container]
    packages: str = "install"
    """`install` missing packages on hosts, or `require` that hosts have them."""
    firewall: str = "report"
    """`manage` the firewalls of hosts, or only `report` what they drop."""
    sources: tuple[Path, ...] = ()
    """Files that hosts and groups were imported from."""
    left_out: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    """Imported hosts that cannot be used, and that no network and no container uses."""
    remarks: tuple[str, ...] = ()
    """Lines about the files for a user who asks for details."""
    notes: tuple[str, ...] = ()
    """Lines about the files that every user has to know."""
    secrets: tuple[Path, ...] = ()
    """Files that hold values of containers' variables, or secrets of networks."""
    guests: Mapping[str, Guest] = field(default_factory=dict)
    members: Mapping[str, Container] = field(init=False, repr=False, compare=False)
    """The containers, and as containers their further networks and the guests, by name."""
    addresses: Mapping[str, frozenset[IPv4Address]] = field(init=False, repr=False, compare=False)
    """The addresses of the hosts of each network, by its name."""

    def __post_init__(self) -> None:
        of_networks = {
            name: frozenset(self.hosts[host].address for host in network.subnets)
            for name, network in self.networks.items()
        }
        object.__setattr__(self, "addresses", of_networks)
        added = [m for container in self.containers.values() for m in further_members(container)]
        added += map(guest_member, self.guests.values())
        members = {**self.containers, **{member.name: member for member in added}}
        object.__setattr__(self, "members", members if added else self.containers)

    @property
    def argument(self) -> str:
        """The file as it was named on the command line, for commands that a person pastes."""
        return quote(str(self.path))

"""The inventory: frozen values that every other module reads. `inventory_load` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ssh:
    """How to log in; None and False leave it to ssh_config."""

    user: str | None = None
    key: Path | None = None
    port: int | None = None
    jump: str | None = None
    sudo: bool = False
    address: str | None = None
    """Where one host's sshd is, when not where its name or `address` leads."""


@dataclass(frozen=True, slots=True)
class Host:
    """A managed host. `name` is the SSH name; `address` is what its peers reach."""

    name: str
    address: IPv4Address
    nic: str | None = None
    host_key: str | None = None
    ssh: Ssh = Ssh()


class MethodOptions(Protocol):
    """The keys that only one method has; each method has a frozen dataclass of its own."""


@dataclass(frozen=True, slots=True)
class LocalBinary:
    """A program on the controller that hosts get."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network over several hosts; `subnets` holds every host of it, in the network's order."""

    name: str
    method: str
    cidr: IPv4Network
    subnets: Mapping[str, IPv4Network]
    mtu: int | None
    egress: str
    options: MethodOptions
    files: Mapping[str, LocalBinary] = field(default_factory=dict)
    """Files of the controller that its hosts get, by the option that names them."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of its hosts, in order."""
        return tuple(self.subnets)


@dataclass(frozen=True, slots=True)
class Image:
    """A Docker image: a reference to pull, or an archive of `docker save` on the controller."""

    ref: str
    archive: Path | None = None
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of the host that leads to one of a container; `ip` None: at every address."""

    ip: IPv4Address | None
    published: int
    target: int
    protocol: str

    def __str__(self) -> str:
        at = f"{self.ip}:" if self.ip else ""
        return f"{at}{self.published}:{self.target}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class InterfaceRoute:
    """A route inside a container; `to` is a range or `default`, `via` empty on the link."""

    to: str
    via: str = ""
    source: str = ""
    metric: int = 0
    table: int = 254


@dataclass(frozen=True, slots=True)
class InterfaceRule:
    """A rule inside a container that sends packets to a table; empty: whatever it is."""

    priority: int
    table: int
    source: str = ""
    to: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a container beside Docker's: on a bridge of `network`, a `macvlan` on a NIC
    of the host, or that `nic` itself. `mac` empty: the NIC's own; `mtu` 0: that of what it is on.
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
class Container:
    """A container of one host. An empty `command` means the image's own.

    `network` is one of the inventory's, or Docker's own: `bridge`, `host`, `none`, or
    `container:NAME` for the namespace of another container of the same host.
    """

    name: str
    host: str
    network: str
    image: Image
    command: tuple[str, ...]
    address: IPv4Address | None
    restart: str
    env: tuple[tuple[str, str], ...] = ()
    volumes: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    mac: str | None = None
    interfaces: tuple[Interface, ...] = ()

    @property
    def namespace_owner(self) -> str | None:
        """The container whose network namespace this one uses."""
        word, _, name = self.network.partition(":")
        return name if word == "container" else None


@dataclass(frozen=True, slots=True)
class Inventory:
    """One file: everything that carries the mark `provision:<name>`."""

    name: str
    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    networks: Mapping[str, Network]
    containers: Mapping[str, Container]
    packages: str = "install"
    """`install` what a host lacks, or `require` that it lacks nothing."""

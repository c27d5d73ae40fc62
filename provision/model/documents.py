"""The documents of an inventory file: its keys and the form of each value, for pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag

from provision.model.fields import (
    containers as container_text,
)
from provision.model.fields import (
    images,
    names,
    ssh_keys,
)
from provision.model.fields import (
    interfaces as interface_text,
)
from provision.model.fields.scalars import (
    Address,
    Argument,
    Cidr,
    File,
    Mtu,
    Port,
    Priority,
    SubnetSize,
    Table,
    Vlan,
    argument,
    between,
    number_range,
)
from provision.model.findings import Complaint, Wrong
from provision.model.inventory import MethodOptions

# Pydantic puts a union's tag into an error's path; no key of a file can hold a NUL.
TEXT, MAPPING = "\0text", "\0mapping"


def _some(hosts: dict[str, Any]) -> dict[str, Any]:
    if not hosts:
        raise Wrong("an inventory has at least 1 host", "write hosts: {h1: {address: 10.0.0.11}}")
    return hosts


def _form(value: Any) -> str | None:
    return TEXT if isinstance(value, str) else MAPPING if isinstance(value, dict) else None


class Document(BaseModel):
    """Every mapping of the file: only known keys, and no value taken for another type."""

    # Built when first used: most files need few of these, and building costs as much as import.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class TopDocument(Document):
    """The file as a whole; what its sections hold is decoded item by item."""

    name: Annotated[str, AfterValidator(names.inventory_name)]
    ssh: Any = None
    hosts_from: File | None = None
    packages: Literal["install", "require"] = "install"
    hosts: Annotated[
        dict[Annotated[str, AfterValidator(names.host_name)], Any], AfterValidator(_some)
    ]
    groups: dict[Annotated[str, AfterValidator(names.group_name)], Any] | None = None
    networks: dict[Annotated[str, AfterValidator(names.network_name)], Any] | None = None
    containers: dict[Annotated[str, AfterValidator(names.container_name)], Any] | None = None


class SshDocument(Document):
    """`ssh`."""

    user: Annotated[str, AfterValidator(names.user_name)] | None = None
    key: File | None = None
    port: Port | None = None
    jump: Annotated[str, AfterValidator(names.jump_name)] | None = None
    sudo: bool = False


class HostSshDocument(Document):
    """`ssh` of one host: what differs there from the `ssh` of all."""

    address: Annotated[str, AfterValidator(names.host_name)] | None = None
    user: Annotated[str, AfterValidator(names.user_name)] | None = None
    key: File | None = None
    port: Port | None = None
    jump: Annotated[str, AfterValidator(names.jump_name)] | None = None
    sudo: bool | None = None


class HostDocument(Document):
    """One of `hosts`; its `ssh` is decoded by itself."""

    address: Address
    ssh: Any = None
    nic: Annotated[str, AfterValidator(names.nic_name)] | None = None
    host_key: Annotated[str, AfterValidator(ssh_keys.host_key)] | None = None


class NetworkDocument(Document):
    """One of `networks`: the keys that all methods share."""

    method: str
    cidr: Cidr
    hosts: list[str] | None = None
    subnet_size: SubnetSize = 24
    subnets: dict[str, Cidr] | None = None
    mtu: Mtu | None = None
    egress: Literal["masquerade", "none"] = "masquerade"


class ArchiveDocument(Document):
    """An image in a file of `docker save`."""

    archive: File


ImageText = Annotated[str, AfterValidator(images.reference), Tag(TEXT)]
ImageFile = Annotated[ArchiveDocument, Tag(MAPPING)]


Gateway = Annotated[str, AfterValidator(interface_text.gateway)]
Prefix = Annotated[str, AfterValidator(interface_text.prefix)]
Nic = Annotated[str, AfterValidator(names.nic_name)]


class RouteDocument(Document):
    """One of an interface's `routes`."""

    to: Annotated[str, AfterValidator(interface_text.destination)]
    via: Gateway | None = None
    source: Gateway | None = None
    metric: Annotated[int, AfterValidator(between(1, 2**31, "metric")), number_range(1, 2**31)] = 0
    table: Table | None = None


class RuleDocument(Document):
    """One of an interface's `rules`; a source or a destination sends to a table."""

    source: Prefix | None = None
    to: Prefix | None = None
    table: Table
    priority: Priority


class InterfaceDocument(Document):
    """One of a container's `interfaces`."""

    network: str | None = None
    macvlan: Nic | None = None
    nic: Nic | None = None
    name: Nic | None = None
    address: Annotated[str, AfterValidator(interface_text.address)] | None = None
    addresses: list[Annotated[str, AfterValidator(interface_text.address)]] = []
    gateway: Gateway | None = None
    gateway6: Gateway | None = None
    routes: list[RouteDocument] = []
    rules: list[RuleDocument] = []
    mac: Annotated[str, AfterValidator(container_text.mac)] | None = None
    mac_from: Annotated[str, AfterValidator(argument)] | None = None
    vlan: Vlan | None = None
    mtu: Mtu | None = None


class ContainerDocument(Document):
    """One of `containers`."""

    host: str
    network: str
    image: Annotated[ImageText | ImageFile, Discriminator(_form)] | None = None
    command: list[Argument] | None = None
    address: Address | None = None
    mac: Annotated[str, AfterValidator(container_text.mac)] | None = None
    ports: list[Annotated[str, AfterValidator(container_text.port)]] = []
    env: dict[Annotated[str, AfterValidator(container_text.variable)], Argument] = {}
    volumes: list[Annotated[str, AfterValidator(container_text.volume)]] = []
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "unless-stopped"
    interfaces: list[InterfaceDocument] = []


@dataclass(frozen=True, slots=True)
class Decoded:
    """The good items of a file, and under `written` the names of all, good or not."""

    name: str
    ssh: SshDocument
    hosts: Mapping[str, HostDocument]
    host_ssh: Mapping[str, HostSshDocument]
    groups: Mapping[str, list[str]]
    networks: Mapping[str, NetworkDocument]
    options: Mapping[str, MethodOptions]
    containers: Mapping[str, ContainerDocument]
    written: Mapping[str, tuple[str, ...]]
    packages: str
    complaints: tuple[Complaint, ...]


Subnets = Mapping[str, IPv4Network]


@dataclass(frozen=True, slots=True)
class Layout:
    """Of each network its hosts, and each host's part of it."""

    hosts: Mapping[str, tuple[str, ...]]
    subnets: Mapping[str, Subnets]

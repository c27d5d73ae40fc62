"""The documents of an inventory file: its keys and the form of each value, for pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag, model_validator

from provision.model.fields import (
    containers,
    images,
    interfaces,
    names,
    secrets,
    ssh_keys,
    ssh_options,
)
from provision.model.fields.dns_names import Alias, Names
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
    between,
    number_range,
)
from provision.model.findings import BadValueError, Finding
from provision.model.inventory import MethodOptions

# Pydantic adds a union's tag to the path of an error; no key of a file can hold a NUL.
TEXT, LIST, MAPPING = "\0text", "\0list", "\0mapping"


def _at_least_one(hosts: dict[str, Any]) -> dict[str, Any]:
    if not hosts:
        hint = "write hosts: {h1: {address: 10.0.0.11}}"
        raise BadValueError("an inventory needs at least 1 host", hint)
    return hosts


def union_tag(value: Any) -> str | None:
    """The tag of the member that a value of text or a mapping belongs to; None for others."""
    return TEXT if isinstance(value, str) else MAPPING if isinstance(value, dict) else None


def _files_tag(value: Any) -> str | None:
    return LIST if isinstance(value, list) else union_tag(value)


def _at_least_one_file(files: list[str]) -> list[str]:
    if not files:
        raise BadValueError("hosts_from names no file", "write hosts_from: [hosts.ini]")
    return files


# Named here, since a key such as `mac` would hide a function `mac` inside the class.
InventoryName = Annotated[str, AfterValidator(names.inventory_name)]
HostName = Annotated[str, AfterValidator(names.host_name)]
GroupName = Annotated[str, AfterValidator(names.group_name)]
NetworkName = Annotated[str, AfterValidator(names.network_name)]
ContainerName = Annotated[str, AfterValidator(names.container_name)]
ContainerLabel = Annotated[str, AfterValidator(containers.label)]
UserName = Annotated[str, AfterValidator(names.user_name)]
Jump = Annotated[str, AfterValidator(names.jump_hosts)]
SshOptions = Annotated[str, AfterValidator(ssh_options.ssh_options)]
SshAddress = Annotated[str, AfterValidator(names.ssh_address)]
Nic = Annotated[str, AfterValidator(names.nic_name)]
InterfaceName = Annotated[str, AfterValidator(names.container_interface)]
HostKey = Annotated[str, AfterValidator(ssh_keys.host_key)]
MacAddress = Annotated[str, AfterValidator(containers.mac)]
PortMapping = Annotated[str, AfterValidator(containers.port)]
VariableName = Annotated[str, AfterValidator(containers.variable)]
Volume = Annotated[str, AfterValidator(containers.volume)]
InterfaceAddress = Annotated[str, AfterValidator(interfaces.address)]
Router = Annotated[str, AfterValidator(interfaces.router)]
Prefix = Annotated[str, AfterValidator(interfaces.prefix)]
Destination = Annotated[str, AfterValidator(interfaces.destination)]
Metric = Annotated[int, AfterValidator(between(1, 2**31, "metric")), number_range(1, 2**31)]


class Document(BaseModel):
    """A mapping of the file: unknown keys are refused, and values are not converted."""

    # defer_build: pydantic builds a validator when it is first used. Most files need few of them,
    # and building all of them takes as long as all imports.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


HostsFromFile = Annotated[File, Tag(TEXT)]
HostsFromFiles = Annotated[list[File], AfterValidator(_at_least_one_file), Tag(LIST)]


class HostsFromDocument(Document):
    """`hosts_from`: an Ansible inventory, and the hosts and groups of it to import."""

    file: Annotated[HostsFromFile | HostsFromFiles, Discriminator(_files_tag)]
    only: list[str] | None = None
    reader: Literal["auto", "ours", "ansible"] = "auto"


HostsFromMapping = Annotated[HostsFromDocument, Tag(MAPPING)]


class TopDocument(Document):
    """The file as a whole; the items of its sections are decoded one by one."""

    name: InventoryName
    ssh: Any = None
    hosts_from: (
        Annotated[HostsFromFile | HostsFromFiles | HostsFromMapping, Discriminator(_files_tag)]
        | None
    ) = None
    packages: Literal["install", "require"] = "install"
    firewall: Literal["report", "manage"] = "report"
    hosts: Annotated[dict[HostName, Any], AfterValidator(_at_least_one)]
    groups: dict[GroupName, Any] | None = None
    networks: dict[NetworkName, Any] | None = None
    containers: dict[ContainerName, Any] | None = None
    guests: dict[ContainerName, Any] | None = None


SshClient = Literal["auto", "paramiko", "openssh"]


class SshDocument(Document):
    """`ssh`: the login of all hosts."""

    user: UserName | None = None
    key: File | None = None
    port: Port | None = None
    jump: Jump | None = None
    sudo: bool = False
    client: SshClient = "auto"
    options: SshOptions | None = None


class HostSshDocument(Document):
    """`ssh` of a host: the keys that differ from the `ssh` of all hosts."""

    address: SshAddress | None = None
    user: UserName | None = None
    key: File | None = None
    port: Port | None = None
    jump: Jump | None = None
    sudo: bool | None = None
    client: SshClient | None = None
    options: SshOptions | None = None


class HostDocument(Document):
    """An entry of `hosts`; its `ssh` is decoded by itself."""

    address: Address
    ssh: Any = None
    nic: Nic | None = None
    host_key: HostKey | None = None


class NetworkDocument(Document):
    """An entry of `networks`: the keys that all methods share."""

    method: str
    cidr: Cidr
    hosts: list[str] | None = None
    subnet_size: SubnetSize = 24
    subnets: dict[str, Cidr] | None = None
    mtu: Mtu | None = None
    egress: Literal["masquerade", "none"] = "masquerade"
    names: Names = None


class ArchiveDocument(Document):
    """An image in a file of `docker save`."""

    archive: File


class ValueDocument(Document):
    """A value that the file does not hold: the text of a file, or a variable of the controller."""

    file: File | None = None
    from_env: VariableName | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ValueDocument:
        if (self.file is None) == (self.from_env is None):
            hint = "write {file: secret.txt} or {from_env: DB_PASSWORD}"
            raise BadValueError("a value comes from a file or from a variable", hint)
        return self


VariableText = Annotated[str, AfterValidator(secrets.literal), Tag(TEXT)]
VariableSource = Annotated[ValueDocument, Tag(MAPPING)]
VariableValue = Annotated[VariableText | VariableSource, Discriminator(union_tag)]
ImageText = Annotated[str, AfterValidator(images.reference), Tag(TEXT)]
ImageFile = Annotated[ArchiveDocument, Tag(MAPPING)]


class RouteDocument(Document):
    """An entry of an interface's `routes`."""

    to: Destination
    via: Router | None = None
    source: Router | None = None
    metric: Metric = 0
    table: Table | None = None


class RuleDocument(Document):
    """An entry of an interface's `rules`: packets of `source` or to `to` use `table`."""

    source: Prefix | None = None
    to: Prefix | None = None
    table: Table
    priority: Priority


class InterfaceDocument(Document):
    """An entry of a container's `interfaces`."""

    network: str | None = None
    macvlan: Nic | None = None
    nic: Nic | None = None
    name: InterfaceName | None = None
    address: InterfaceAddress | None = None
    addresses: list[InterfaceAddress] = []
    gateway: Router | None = None
    gateway6: Router | None = None
    routes: list[RouteDocument] = []
    rules: list[RuleDocument] = []
    mac: MacAddress | None = None
    mac_from: Argument | None = None
    vlan: Vlan | None = None
    mtu: Mtu | None = None

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """All its addresses, in the order of the file."""
        return (*((self.address,) if self.address else ()), *self.addresses)


class ContainerDocument(Document):
    """An entry of `containers`."""

    host: str
    network: str
    image: Annotated[ImageText | ImageFile, Discriminator(union_tag)] | None = None
    command: list[Argument] | None = None
    address: Address | None = None
    mac: MacAddress | None = None
    ports: list[PortMapping] = []
    env: dict[VariableName, VariableValue] = {}
    volumes: list[Volume] = []
    restart: Literal["no", "always", "on-failure", "unless-stopped"] = "unless-stopped"
    interfaces: list[InterfaceDocument] = []
    aliases: list[Alias] = []


class GuestDocument(Document):
    """An entry of `guests`: a container that others make."""

    host: str
    network: str
    container: ContainerName | None = None
    label: ContainerLabel | None = None
    address: Address | None = None
    absent: Literal["refuse", "wait"] = "refuse"

    @model_validator(mode="after")
    def _exactly_one(self) -> GuestDocument:
        if (self.container is None) == (self.label is None):
            hint = "write container: shop-web-1, or label: com.docker.compose.service=web"
            raise BadValueError("a guest is found by either its name or a label", hint)
        return self


Member = ContainerDocument | GuestDocument
"""A document of something that has an address of a network."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The valid items of a file, by section and name.

    `declared` has the names of all items of each section, valid or not.
    """

    name: str
    ssh: SshDocument
    hosts: Mapping[str, HostDocument]
    host_ssh: Mapping[str, HostSshDocument]
    groups: Mapping[str, list[str]]
    networks: Mapping[str, NetworkDocument]
    options: Mapping[str, MethodOptions]
    containers: Mapping[str, ContainerDocument]
    guests: Mapping[str, GuestDocument]
    declared: Mapping[str, tuple[str, ...]]
    packages: str
    firewall: str
    findings: tuple[Finding, ...]


Subnets = Mapping[str, IPv4Network]


@dataclass(frozen=True, slots=True)
class Layout:
    """The hosts of each network, in order, and the subnet of each host in it."""

    hosts: Mapping[str, tuple[str, ...]]
    subnets: Mapping[str, Subnets]

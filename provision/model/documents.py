"""The documents of an inventory file: its keys and the form of each value, for pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag, model_validator

from provision.model.document import LIST as LIST
from provision.model.document import MAPPING as MAPPING
from provision.model.document import TEXT as TEXT
from provision.model.document import Document as Document
from provision.model.document import files_tag
from provision.model.document import union_tag as union_tag
from provision.model.fields import (
    containers,
    images,
    names,
    secrets,
    ssh_keys,
    ssh_options,
)
from provision.model.fields.access import AccessEntries
from provision.model.fields.dns_names import Alias, Names
from provision.model.fields.scalars import (
    Address,
    Argument,
    Cidr,
    File,
    Mtu,
    Port,
    Subnet,
    SubnetSize,
)
from provision.model.findings import BadValueError, Finding
from provision.model.interface_documents import InterfaceDocument as InterfaceDocument
from provision.model.interface_documents import MacAddress, Nic
from provision.model.inventory import MethodOptions
from provision.model.settings_documents import RestartPolicy, SettingsDocument


def _at_least_one(hosts: dict[str, Any]) -> dict[str, Any]:
    if not hosts:
        hint = "write hosts: {h1: {address: 10.0.0.11}}"
        raise BadValueError("an inventory needs at least 1 host", hint)
    return hosts


def _at_least_one_file(files: list[str]) -> list[str]:
    if not files:
        raise BadValueError("hosts_from names no file", "write hosts_from: [hosts.ini]")
    return files


def _at_least_one_name(hosts: list[str]) -> list[str]:
    if not hosts:
        raise BadValueError("the service has no host", "write [h1, h2]")
    return hosts


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
HostKey = Annotated[str, AfterValidator(ssh_keys.host_key)]
PortMapping = Annotated[str, AfterValidator(containers.port)]
VariableName = Annotated[str, AfterValidator(containers.variable)]
Volume = Annotated[str, AfterValidator(containers.volume)]


HostsFromFile = Annotated[File, Tag(TEXT)]
HostsFromFiles = Annotated[list[File], AfterValidator(_at_least_one_file), Tag(LIST)]


class HostsFromDocument(Document):
    """`hosts_from`: an Ansible inventory, and the hosts and groups of it to import."""

    file: Annotated[HostsFromFile | HostsFromFiles, Discriminator(files_tag)]
    only: list[str] | None = None
    reader: Literal["auto", "ours", "ansible"] = "auto"


HostsFromMapping = Annotated[HostsFromDocument, Tag(MAPPING)]


class TopDocument(Document):
    """The file as a whole; the items of its sections are decoded one by one."""

    name: InventoryName
    ssh: Any = None
    hosts_from: (
        Annotated[HostsFromFile | HostsFromFiles | HostsFromMapping, Discriminator(files_tag)]
        | None
    ) = None
    packages: Literal["install", "require"] = "install"
    firewall: Literal["report", "manage"] = "report"
    hosts: Annotated[dict[HostName, Any], AfterValidator(_at_least_one)]
    groups: dict[GroupName, Any] | None = None
    networks: dict[NetworkName, Any] | None = None
    containers: dict[ContainerName, Any] | None = None
    guests: dict[ContainerName, Any] | None = None
    compose: list[Any] | None = None


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
    subnets: dict[str, Subnet] | None = None
    mtu: Mtu | None = None
    egress: Literal["masquerade", "none"] = "masquerade"
    names: Names = None
    access: AccessEntries = None


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
EnvFile = Annotated[
    Annotated[File, Tag(TEXT)] | Annotated[list[File], Tag(LIST)], Discriminator(files_tag)
]
ImageText = Annotated[str, AfterValidator(images.reference), Tag(TEXT)]
ImageFile = Annotated[ArchiveDocument, Tag(MAPPING)]


class FurtherNetworkDocument(Document):
    """A further network of a container, with a fixed address."""

    network: str
    address: Address | None = None


FurtherNetworkName = Annotated[str, Tag(TEXT)]
FurtherNetworkMapping = Annotated[FurtherNetworkDocument, Tag(MAPPING)]


class ContainerDocument(SettingsDocument):
    """An entry of `containers`."""

    host: str
    network: str
    image: Annotated[ImageText | ImageFile, Discriminator(union_tag)] | None = None
    command: list[Argument] | None = None
    address: Address | None = None
    mac: MacAddress | None = None
    ports: list[PortMapping] = []
    env: dict[VariableName, VariableValue] = {}
    env_file: EnvFile | None = None
    volumes: list[Volume] = []
    restart: RestartPolicy = "unless-stopped"
    depends_on: list[str] = []
    interfaces: list[InterfaceDocument] = []
    aliases: list[Alias] = []
    service: Alias | None = None
    networks: list[
        Annotated[FurtherNetworkName | FurtherNetworkMapping, Discriminator(union_tag)]
    ] = []

    def further(self) -> list[FurtherNetworkDocument]:
        """The further networks as mappings, in the order of the file."""
        return [
            FurtherNetworkDocument(network=entry) if isinstance(entry, str) else entry
            for entry in self.networks
        ]

    def joined(self) -> list[str]:
        """The names of its network and the further ones, in this order."""
        return [self.network, *(entry.network for entry in self.further())]


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
            hint = "give it one of the keys container and label"
            raise BadValueError("a guest is found by either its name or a label", hint)
        return self


Member = ContainerDocument | GuestDocument
"""A document of something that has an address of a network."""


ServiceHost = Annotated[str, Tag(TEXT)]
ServiceHosts = Annotated[list[str], AfterValidator(_at_least_one_name), Tag(LIST)]


class ComposeDocument(Document):
    """An item of `compose`: a Compose file, and where its services run."""

    file: File
    project: Annotated[str, AfterValidator(names.project_name)] | None = None
    hosts: dict[str, Annotated[ServiceHost | ServiceHosts, Discriminator(files_tag)]] = {}
    network: str


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

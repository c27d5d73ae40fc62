"""The shape of an inventory file: its keys and the form of single values, as pydantic sees them.

What values mean to each other is `inventory_rules`' matter, the words of errors `inventory_words`'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import lru_cache, reduce
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Tag,
    WithJsonSchema,
    create_model,
)
from pydantic_core import PydanticCustomError

from provision import address_text, container_text, image_text, name_text, ssh_key
from provision.complaint import Wrong, quoted

# Pydantic puts a union's tag into an error's path; no key of a file can hold a NUL.
TEXT, MAPPING = "\0text", "\0mapping"


def between(low: int, high: int, noun: str) -> Callable[[int], int]:
    """A rule for a number."""

    def check(number: int) -> int:
        if not low <= number <= high:
            raise Wrong(f"{noun} {number} is not from {low} to {high}")
        return number

    return check


def _range(low: int, high: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})


def _read(rule: Callable[[str], object]) -> Callable[[Any], object]:
    """A rule for text; anything else is refused as pydantic refuses what is no text."""

    def check(value: Any) -> object:
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "text is wanted")
        return rule(value)

    return check


def _some(hosts: dict[str, Any]) -> dict[str, Any]:
    if not hosts:
        raise Wrong("an inventory has at least 1 host", "write hosts: {h1: {address: 10.0.0.11}}")
    return hosts


def _argument(text: str) -> str:
    if "\0" in text:
        raise Wrong(f"{quoted(text)} holds a NUL character", "remove it")
    return text


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise Wrong("a file's name is empty or holds a NUL character", "write a path")
    return text


def _form(value: Any) -> str | None:
    return TEXT if isinstance(value, str) else MAPPING if isinstance(value, dict) else None


Cidr = Annotated[IPv4Network, BeforeValidator(_read(address_text.cidr))]
Address = Annotated[IPv4Address, BeforeValidator(_read(address_text.ipv4))]
Port = Annotated[int, AfterValidator(between(1, 65535, "port")), _range(1, 65535)]
# 576 is what every IPv4 host accepts (RFC 791), 65535 all that its length field can say.
Mtu = Annotated[int, AfterValidator(between(576, 65535, "mtu")), _range(576, 65535)]
SubnetSize = Annotated[
    int,
    AfterValidator(between(8, address_text.SMALLEST, "subnet_size")),
    _range(8, address_text.SMALLEST),
]
Argument = Annotated[str, AfterValidator(_argument)]
File = Annotated[str, AfterValidator(_file)]


class Document(BaseModel):
    """Every mapping of the file: only known keys, and no value taken for another type."""

    # Built when first used: most files need few of these, and building costs as much as import.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class TopDocument(Document):
    """The file as a whole; what its sections hold is decoded item by item."""

    name: Annotated[str, AfterValidator(name_text.inventory_name)]
    ssh: Any = None
    hosts_from: File | None = None
    packages: Literal["install", "require"] = "install"
    hosts: Annotated[
        dict[Annotated[str, AfterValidator(name_text.host_name)], Any], AfterValidator(_some)
    ]
    groups: dict[Annotated[str, AfterValidator(name_text.group_name)], Any] | None = None
    networks: dict[Annotated[str, AfterValidator(name_text.network_name)], Any] | None = None
    containers: dict[Annotated[str, AfterValidator(name_text.container_name)], Any] | None = None


class SshDocument(Document):
    """`ssh`."""

    user: Annotated[str, AfterValidator(name_text.user_name)] | None = None
    key: File | None = None
    port: Port | None = None
    jump: Annotated[str, AfterValidator(name_text.jump_name)] | None = None
    sudo: bool = False


class HostSshDocument(Document):
    """`ssh` of one host: what differs there from the `ssh` of all."""

    address: Annotated[str, AfterValidator(name_text.host_name)] | None = None
    user: Annotated[str, AfterValidator(name_text.user_name)] | None = None
    key: File | None = None
    port: Port | None = None
    jump: Annotated[str, AfterValidator(name_text.jump_name)] | None = None
    sudo: bool | None = None


class HostDocument(Document):
    """One of `hosts`; its `ssh` is decoded by itself."""

    address: Address
    ssh: Any = None
    nic: Annotated[str, AfterValidator(name_text.nic_name)] | None = None
    host_key: Annotated[str, AfterValidator(ssh_key.host_key)] | None = None


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


ImageText = Annotated[str, AfterValidator(image_text.reference), Tag(TEXT)]
ImageFile = Annotated[ArchiveDocument, Tag(MAPPING)]


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


def options_of(method: str) -> Any:
    """The Options dataclass of a method of the shelf."""
    return import_module(f"provision.methods.{method.replace('-', '_')}").Options


@lru_cache
def network_document(method: str) -> type[NetworkDocument]:
    """`NetworkDocument` with the keys of one method."""
    options = options_of(method)
    hints = get_type_hints(options, include_extras=True)
    keys: dict[str, Any] = {
        field.name: (_textual(hints[field.name]), _default(field)) for field in fields(options)
    }
    return create_model(f"{method}_network", __base__=NetworkDocument, **keys)


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return ... if field.default is MISSING else field.default


def _textual(hint: Any) -> Any:
    """A field's type with our own reading of addresses in it."""
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (_textual(part) for part in get_args(hint)))
    return {IPv4Address: Address, IPv4Network: Cidr}.get(hint, hint)

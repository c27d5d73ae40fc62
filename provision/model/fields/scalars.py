"""Numbers, addresses and file names of an inventory, as pydantic types."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from provision.model.fields import addresses
from provision.model.findings import BadValueError
from provision.model.text import quoted


def between(low: int, high: int, noun: str) -> Callable[[int], int]:
    """A rule for a number."""

    def check(number: int) -> int:
        if not low <= number <= high:
            raise BadValueError(f"{noun} {number} is not from {low} to {high}")
        return number

    return check


def number_range(low: int, high: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})


def _read(rule: Callable[[str], object]) -> Callable[[Any], object]:
    """A rule for text; anything else is refused as pydantic refuses what is no text."""

    def check(value: Any) -> object:
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "text is wanted")
        return rule(value)

    return check


def argument(text: str) -> str:
    if "\0" in text:
        raise BadValueError(f"{quoted(text)} holds a NUL character", "remove it")
    return text


def _file(text: str) -> str:
    if not text or "\0" in text:
        raise BadValueError("a file's name is empty or holds a NUL character", "write a path")
    return text


Cidr = Annotated[IPv4Network, BeforeValidator(_read(addresses.cidr))]
Address = Annotated[IPv4Address, BeforeValidator(_read(addresses.ipv4))]
Port = Annotated[int, AfterValidator(between(1, 65535, "port")), number_range(1, 65535)]
# 576 is what every IPv4 host accepts (RFC 791), 65535 all that its length field can say.
Mtu = Annotated[int, AfterValidator(between(576, 65535, "mtu")), number_range(576, 65535)]
SubnetSize = Annotated[
    int,
    AfterValidator(between(8, addresses.SMALLEST, "subnet_size")),
    number_range(8, addresses.SMALLEST),
]
Argument = Annotated[str, AfterValidator(argument)]
File = Annotated[str, AfterValidator(_file)]
# 0 is "no table", 255 the kernel's own.
Table = Annotated[int, AfterValidator(between(1, 252, "table")), number_range(1, 252)]
Priority = Annotated[int, AfterValidator(between(1, 32765, "priority")), number_range(1, 32765)]
Vlan = Annotated[int, AfterValidator(between(1, 4094, "vlan")), number_range(1, 4094)]

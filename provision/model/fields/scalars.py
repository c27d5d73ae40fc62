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
    """A validator for a number from `low` to `high`, both included; messages call it `noun`."""

    def check(number: int) -> int:
        if not low <= number <= high:
            raise BadValueError(f"{noun} {number} is not from {low} to {high}")
        return number

    return check


def number_range(low: int, high: int) -> WithJsonSchema:
    """The JSON Schema of a number from `low` to `high`; pydantic cannot derive it."""
    return WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})


def _parsed(parse: Callable[[str], object]) -> Callable[[Any], object]:
    """A validator that parses text, and refuses other types with pydantic's own error."""

    def validate(value: Any) -> object:
        if not isinstance(value, str):
            # `schema_errors` words the message by this type of error.
            raise PydanticCustomError("string_type", "must be text")
        return parse(value)

    return validate


def _argument(text: str) -> str:
    if "\0" in text:
        raise BadValueError(f"{quoted(text)} holds a NUL character", "remove it")
    return text


def _file(text: str) -> str:
    if not text or "\0" in text:
        message = "the name of a file is empty or holds a NUL character"
        raise BadValueError(message, "write a path")
    return text


Cidr = Annotated[IPv4Network, BeforeValidator(_parsed(addresses.cidr))]
Subnet = Annotated[IPv4Network, BeforeValidator(_parsed(addresses.subnet))]
SourceRange = Annotated[IPv4Network, BeforeValidator(_parsed(addresses.source_range))]
Address = Annotated[IPv4Address, BeforeValidator(_parsed(addresses.ipv4))]
Port = Annotated[int, AfterValidator(between(1, 65535, "port")), number_range(1, 65535)]
# Every IPv4 host accepts packets of 576 bytes; the length field of IPv4 ends at 65535 (RFC 791).
Mtu = Annotated[int, AfterValidator(between(576, 65535, "mtu")), number_range(576, 65535)]
SubnetSize = Annotated[
    int,
    AfterValidator(between(8, addresses.SMALLEST, "subnet_size")),
    number_range(8, addresses.SMALLEST),
]
Argument = Annotated[str, AfterValidator(_argument)]
File = Annotated[str, AfterValidator(_file)]
# 0 means no table (RT_TABLE_UNSPEC); 253 to 255 are the kernel's default, main and local tables.
Table = Annotated[int, AfterValidator(between(1, 252, "table")), number_range(1, 252)]
# The kernel has rules of its own at 0 (local), 32766 (main) and 32767 (default).
Priority = Annotated[int, AfterValidator(between(1, 32765, "priority")), number_range(1, 32765)]
# IEEE 802.1Q reserves 0 (priority tag) and 4095.
Vlan = Annotated[int, AfterValidator(between(1, 4094, "vlan")), number_range(1, 4094)]

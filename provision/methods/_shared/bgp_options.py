"""The keys of networks whose hosts speak BGP, and the hosts that reflect its routes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.documents import ValueDocument
from provision.model.fields.scalars import number_range
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Network

PORT = 179
"""TCP port of BGP (RFC 4271)."""
BFD_PORT = 3784
"""UDP port of BFD on one link (RFC 5881)."""
BFD_MULTIHOP_PORT = 4784
"""UDP port of BFD across routers (RFC 5883)."""
BFD_INTERVAL_MS, BFD_MULTIPLIER = 250, 3
"""A packet each so many milliseconds; a host that has sent none in so many intervals is dead."""
ASN = 64512
"""The first number for private use (RFC 6996)."""
DEFAULT_REFLECTOR_COUNT = 2
_RESERVED = (23456, 65535, 2**32 - 1)
"""AS_TRANS (RFC 6793), and the last number of 16 and of 32 bits (RFC 7300)."""


def _asn(number: int) -> int:
    if not 1 <= number < 2**32:
        raise BadValueError(f"asn {number} is not from 1 to {2**32 - 1}")
    if number in _RESERVED:
        raise BadValueError(f"asn {number} is reserved", f"write {ASN}, which is for private use")
    return number


def _password_source(value: object) -> object:
    """Refuse a password that stands in the inventory, without printing it."""
    if isinstance(value, (dict, ValueDocument)) or value is None:
        return value
    hint = "write {file: PATH}, and the password into that file"
    raise BadValueError("a password does not stand in the inventory", hint)


def check_password(text: str) -> None:
    """Raises BadValueError for a text that FRR or the kernel would not take."""
    if not re.fullmatch(r"[!-~]{1,80}", text):
        message = "the password is not one line of 1 to 80 printable ASCII characters"
        hint = "make one by `openssl rand -base64 24`; it has no spaces"
        raise BadValueError(message, hint)


Asn = Annotated[int, AfterValidator(_asn), number_range(1, 2**32 - 1)]
"""The number of an autonomous system."""
Password = Annotated[ValueDocument | None, BeforeValidator(_password_source)]
"""A file, or a variable, with a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions(BridgeOptions):
    """The keys of a network whose hosts speak BGP, besides those of every network."""

    asn: Annotated[Asn, Help("number of the autonomous system that all hosts are in")] = ASN
    reflectors: Annotated[
        list[str] | None,
        Help("hosts that pass on the routes of all others; default: the first two"),
    ] = None
    bfd: Annotated[bool, Help("the reflectors notice a host that is dead within a second")] = False
    password: Annotated[
        Password,
        Help("file, or variable, with the password of all sessions (TCP MD5); default: none"),
    ] = None


def speaker_options(network: Network) -> SpeakerOptions:
    """The options of a network whose hosts speak BGP."""
    assert isinstance(network.options, SpeakerOptions)
    return network.options


def reflectors(network: Network) -> tuple[str, ...]:
    """The route reflectors: those that the inventory names, else the first two hosts."""
    return (
        tuple(speaker_options(network).reflectors or ()) or network.hosts[:DEFAULT_REFLECTOR_COUNT]
    )

"""The keys of a `bgp` network, and the hosts that reflect its routes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from provision.methods._shared.docker_bridge import BridgeOptions
from provision.model.documents import Document, ValueDocument
from provision.model.fields.scalars import Address, SourceRange, number_range
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Network

PORT = 179
"""TCP port of BGP (RFC 4271)."""
BFD_PORT = 3784
"""UDP port of BFD on one link (RFC 5881)."""
BFD_INTERVAL_MS, BFD_MULTIPLIER = 250, 3
"""A packet each so many milliseconds; a host that has sent none in so many intervals is dead."""
PROTOCOL = 186
"""The kernel's number for routes of BGP: RTPROT_BGP of linux/rtnetlink.h."""
KEPT = 241
"""The number for copies of these routes, which stand while the daemons learn them again."""
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
    hint = "write password: {file: bgp.key}, and the password into that file"
    raise BadValueError("a password does not stand in the inventory", hint)


def check_password(text: str) -> None:
    """Raises BadValueError for a text that FRR or the kernel would not take."""
    if not re.fullmatch(r"[!-~]{1,80}", text):
        message = "the password is not one line of 1 to 80 printable ASCII characters"
        hint = "make one by `openssl rand -base64 24 > bgp.key`; it has no spaces"
        raise BadValueError(message, hint)


def _no_default_route(network: IPv4Network) -> IPv4Network:
    if network.prefixlen == 0:
        message = "no default route is accepted from a router"
        raise BadValueError(
            message, "write the ranges that the router leads to, like 10.200.0.0/16"
        )
    return network


_Asn = Annotated[int, AfterValidator(_asn), number_range(1, 2**32 - 1)]
_AcceptedRange = Annotated[SourceRange, AfterValidator(_no_default_route)]


class Router(Document):
    """A router of the hosts' link, which learns from each host the host's subnet."""

    address: Annotated[Address, Help("its address on the hosts' link")]
    asn: Annotated[_Asn, Help("number of its autonomous system, another than that of the hosts")]
    accept: Annotated[
        list[_AcceptedRange] | None,
        Help("ranges to which the hosts take routes from it; default: none"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpOptions(BridgeOptions):
    """The keys of a `bgp` network, besides those of every network."""

    asn: Annotated[_Asn, Help("number of the autonomous system that all hosts are in")] = ASN
    reflectors: Annotated[
        list[str] | None,
        Help("hosts that pass on the routes of all others; default: the first two"),
    ] = None
    routers: Annotated[
        list[Router] | None,
        Help("routers of the hosts' link that learn the subnets from the hosts; default: none"),
    ] = None
    strict: Annotated[
        bool,
        Help("the reflectors accept from a host its own subnet only; a new host changes them, too"),
    ] = False
    bfd: Annotated[bool, Help("the reflectors notice a host that is dead within a second")] = False
    password: Annotated[
        Annotated[ValueDocument | None, BeforeValidator(_password_source)],
        Help("file, or variable, with the password of all sessions (TCP MD5); default: none"),
    ] = None
    router_password: Annotated[
        Annotated[ValueDocument | None, BeforeValidator(_password_source)],
        Help("file, or variable, with the password of the routers; default: `password`"),
    ] = None


def options(network: Network) -> BgpOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, BgpOptions)
    return network.options


def reflectors(network: Network) -> tuple[str, ...]:
    """The route reflectors: those that the inventory names, else the first two hosts."""
    return tuple(options(network).reflectors or ()) or network.hosts[:DEFAULT_REFLECTOR_COUNT]


def routers(network: Network) -> tuple[Router, ...]:
    """The routers with which each host has a session."""
    return tuple(options(network).routers or ())


def accepted_ranges(network: Network) -> tuple[IPv4Network, ...]:
    """The ranges to which the hosts take routes from any of the routers."""
    return tuple(sorted({each for router in routers(network) for each in router.accept or ()}))

"""The keys of a `bgp` network, its routers, and the numbers of its routes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import AfterValidator

from provision.methods._shared.bgp_options import Asn, Password, SpeakerOptions
from provision.model.documents import Document
from provision.model.fields.scalars import Address, SourceRange
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Network

PROTOCOL = 186
"""The kernel's number for routes of BGP: RTPROT_BGP of linux/rtnetlink.h."""
KEPT = 241
"""The number for copies of these routes, which stand while the daemons learn them again."""


def _no_default_route(network: IPv4Network) -> IPv4Network:
    if network.prefixlen == 0:
        message = "no default route is accepted from a router"
        raise BadValueError(
            message, "write the ranges that the router leads to, like 10.200.0.0/16"
        )
    return network


_AcceptedRange = Annotated[SourceRange, AfterValidator(_no_default_route)]


class Router(Document):
    """A router of the hosts' link, which learns from each host the host's subnet."""

    address: Annotated[Address, Help("its address on the hosts' link")]
    asn: Annotated[Asn, Help("number of its autonomous system, another than that of the hosts")]
    accept: Annotated[
        list[_AcceptedRange] | None,
        Help("ranges to which the hosts take routes from it; default: none"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpOptions(SpeakerOptions):
    """The keys of a `bgp` network, besides those of every network."""

    routers: Annotated[
        list[Router] | None,
        Help("routers of the hosts' link that learn the subnets from the hosts; default: none"),
    ] = None
    strict: Annotated[
        bool,
        Help("the reflectors accept from a host its own subnet only; a new host changes them, too"),
    ] = False
    router_password: Annotated[
        Password,
        Help("file, or variable, with the password of the routers; default: `password`"),
    ] = None


def options(network: Network) -> BgpOptions:
    """The options of a network of this method."""
    assert isinstance(network.options, BgpOptions)
    return network.options


def routers(network: Network) -> tuple[Router, ...]:
    """The routers with which each host has a session."""
    return tuple(options(network).routers or ())


def accepted_ranges(network: Network) -> tuple[IPv4Network, ...]:
    """The ranges to which the hosts take routes from any of the routers."""
    return tuple(sorted({each for router in routers(network) for each in router.accept or ()}))

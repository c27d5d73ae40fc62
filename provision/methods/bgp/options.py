"""The keys of a `bgp` network, its routers, and the numbers of its routes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import AfterValidator

from provision.methods._shared.bgp_options import Asn, Password, SpeakerOptions
from provision.model.documents import Document
from provision.model.fields.scalars import Address, SourceRange, Subnet
from provision.model.findings import BadValueError
from provision.model.help import Help
from provision.model.inventory import Inventory, Network

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
    """A router of a link of hosts, which learns from each host there the host's subnet."""

    address: Annotated[Address, Help("its address on the link of the hosts that call it")]
    asn: Annotated[Asn, Help("number of its autonomous system, another than that of the hosts")]
    accept: Annotated[
        list[_AcceptedRange] | None,
        Help("ranges to which the hosts take routes from it; default: none"),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpOptions(SpeakerOptions):
    """The keys of a `bgp` network, besides those of every network."""

    links: Annotated[
        list[Subnet] | None,
        Help("the ranges of the hosts' links, if there are several; default: all are on one link"),
    ] = None
    routers: Annotated[
        list[Router] | None,
        Help("routers of the hosts' links that learn the subnets from the hosts; default: none"),
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


def links(network: Network) -> tuple[IPv4Network, ...]:
    """The ranges of the hosts' links; empty if all hosts are on one link."""
    return tuple(options(network).links or ())


def same_link(network: Network, first: IPv4Address, second: IPv4Address) -> bool:
    """Return True for two addresses on one link of the network."""
    if not links(network):
        return True
    return any(first in link and second in link for link in links(network))


def routers_of(inventory: Inventory, network: Network, host: str) -> tuple[Router, ...]:
    """The routers with which a host has a session: those on its link."""
    address = inventory.hosts[host].address
    routers = options(network).routers or ()
    return tuple(router for router in routers if same_link(network, address, router.address))


def accepted_ranges(routers: Iterable[Router]) -> tuple[IPv4Network, ...]:
    """The ranges to which a host takes routes from any of these routers."""
    return tuple(sorted({each for router in routers for each in router.accept or ()}))

"""Mistakes in the keys of `bgp` networks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from provision.methods._shared import bgp_rules
from provision.methods.bgp.options import BgpOptions, Router
from provision.model.findings import KEY, Finding, Loc

if TYPE_CHECKING:
    from provision.model.documents import Decoded, Layout


def findings(name: str, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Yield the mistakes in a network's reflectors and routers."""
    options = decoded.options[name]
    assert isinstance(options, BgpOptions)
    yield from bgp_rules.findings(name, decoded, layout)
    for index, router in enumerate(options.routers or ()):
        loc: Loc = ("networks", name, "routers", index)
        earlier = (options.routers or [])[:index]
        if router.address in [each.address for each in earlier]:
            message = f"router {router.address} stands here twice"
            yield Finding((*loc, "address"), message, "remove one")
        yield from _router(loc, router, name, options, decoded)
        for number, accepted in enumerate(router.accept or ()):
            yield from _accepted((*loc, "accept", number), accepted, decoded)
    if options.router_password is not None and not options.routers:
        message = f"network '{name}' has no routers"
        yield Finding(("networks", name, "router_password", KEY), message, "remove the key")


def _router(
    loc: Loc, router: Router, name: str, options: BgpOptions, decoded: Decoded
) -> Iterator[Finding]:
    for host, document in decoded.hosts.items():
        if document.address == router.address:
            message = f"{router.address} is the address of host '{host}'"
            yield Finding((*loc, "address"), message, "write the address of the router")
    if router.address in decoded.networks[name].cidr:
        message = f"router {router.address} is in the range of network '{name}'"
        yield Finding((*loc, "address"), message, "write its address on the hosts' link")
    if router.asn == options.asn:
        message = f"asn {router.asn} is that of the hosts"
        yield Finding((*loc, "asn"), message, "write the number of the router's autonomous system")


def _accepted(loc: Loc, accepted: IPv4Network, decoded: Decoded) -> Iterator[Finding]:
    """A router must not lead away packets to a container or to a host."""
    for name, network in decoded.networks.items():
        if accepted.overlaps(network.cidr):
            message = f"{accepted} overlaps {network.cidr} of network '{name}'"
            yield Finding(loc, message, "write ranges outside of all networks of this file")
    for host, document in decoded.hosts.items():
        if document.address in accepted:
            message = f"{accepted} contains {document.address}, the address of host '{host}'"
            yield Finding(loc, message, "write smaller ranges, without the hosts' own link")
            return

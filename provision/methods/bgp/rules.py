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
    yield from _links(name, options, decoded, layout)
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


def _links(name: str, options: BgpOptions, decoded: Decoded, layout: Layout) -> Iterator[Finding]:
    """Each host and each router is on one of the links, and each link with hosts has a router."""
    loc: Loc = ("networks", name, "links")
    links = options.links
    if links is None:
        return
    if not links:
        yield Finding(loc, "the network has no link", "write the range of each link, or no 'links'")
        return
    for index, link in enumerate(links):
        if link.overlaps(decoded.networks[name].cidr):
            message = f"link {link} overlaps cidr, the containers' range"
            yield Finding((*loc, index), message, "write the range of the hosts' addresses")
        for earlier in links[:index]:
            if link.overlaps(earlier):
                message = f"links {earlier} and {link} overlap"
                yield Finding((*loc, index), message, "write one range for each link")
    routers = list(enumerate(options.routers or ()))
    for index, router in routers:
        if not any(router.address in link for link in links):
            message = f"router {router.address} is on none of the network's links"
            at = ("networks", name, "routers", index, "address")
            yield Finding(at, message, "add the range of its link to 'links'")
    hosts = [(host, decoded.hosts[host].address) for host in layout.hosts[name]]
    for host, address in hosts:
        if not any(address in link for link in links):
            message = f"host '{host}' ({address}) is on none of the network's links"
            yield Finding(loc, message, "add the range of its link")
    used = [link for link in links if any(address in link for _, address in hosts)]
    for link in used if len(used) > 1 else ():
        if not any(router.address in link for _, router in routers):
            message = f"link {link} has no router, which would tell others of the subnets there"
            yield Finding(loc, message, f"add a router of {link} to 'routers'")


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

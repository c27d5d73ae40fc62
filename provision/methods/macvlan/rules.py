"""Mistakes in the keys of `macvlan` networks, and in the containers that use them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provision.methods.macvlan.options import MacvlanOptions, placeholder
from provision.model.findings import Finding, Loc

if TYPE_CHECKING:
    from provision.model.documents import (
        Decoded,
        Layout,
        Member,
        NetworkDocument,
        Subnets,
    )


def findings(
    name: str, network: NetworkDocument, decoded: Decoded, layout: Layout
) -> Iterator[Finding]:
    """Yield the mistakes in a network that the other methods on the hosts' LAN do not have."""
    yield from _useless_keys(("networks", name), network)
    yield from _ports(name, decoded)
    yield from _full(name, network, decoded, layout.subnets[name])


def _useless_keys(loc: Loc, network: NetworkDocument) -> Iterator[Finding]:
    # Docker creates each macvlan with the MTU of its NIC, and ignores its own option for the MTU
    # (seen with 20.10, 26.1 and 28.5).
    if network.mtu is not None:
        message = "Docker gives a container on macvlan the MTU of its NIC, not that of 'mtu'"
        yield Finding((*loc, "mtu"), message, "remove it, or set the MTU of the NIC on each host")
    if "egress" in network.model_fields_set:
        message = "the packets of a macvlan do not pass its host, which could translate them"
        yield Finding((*loc, "egress"), message, "remove it: the router at 'gateway' decides")


def _ports(name: str, decoded: Decoded) -> Iterator[Finding]:
    """Docker accepts published ports on macvlan, and ignores them."""
    for container_name, container in decoded.containers.items():
        if container.network == name and container.ports:
            message = f"'ports' has no effect on network '{name}': it is on the LAN itself"
            hint = "remove it, and connect to the container's own address"
            yield Finding(("containers", container_name, "ports"), message, hint)


def _full(
    name: str, network: NetworkDocument, decoded: Decoded, parts: Subnets
) -> Iterator[Finding]:
    """Yield a finding where a part is full because Docker gives some of its addresses to nobody."""
    options = decoded.options[name]
    assert isinstance(options, MacvlanOptions)
    for host, part in parts.items():
        kept = withheld(part, network.cidr, options.gateway)
        usable = part.num_addresses - len(kept)
        users = [n for n, c in decoded.containers.items() if (c.network, c.host) == (name, host)]
        if usable < len(users) <= part.num_addresses:
            message = f"{host}'s part of '{name}', {part}, is full"
            roles = ", ".join(f"{address} is {role}" for address, role in kept.items())
            hint = f"{usable} of its addresses are for containers ({roles}); widen the pool"
            yield Finding(("containers", users[usable], "host"), message, hint)


def address_findings(
    loc: Loc, container: Member, part: IPv4Network, decoded: Decoded
) -> Iterator[Finding]:
    """Yield the reason why Docker gives a container no address that it keeps for something else."""
    options = decoded.options[container.network]
    assert isinstance(options, MacvlanOptions)
    kept = withheld(part, decoded.networks[container.network].cidr, options.gateway)
    if container.address in kept:
        message = f"{container.address} is {kept[container.address]}"
        yield Finding(loc, message, f"choose another of {part}")


def withheld(
    part: IPv4Network, cidr: IPv4Network, gateway: IPv4Address | None
) -> dict[IPv4Address, str]:
    """The addresses of a host's part that Docker gives to no container, each with what it is."""
    kept = {
        address: role
        for address, role in (
            (cidr.network_address, f"the network address of {cidr}"),
            (cidr.broadcast_address, f"the broadcast address of {cidr}"),
        )
        if address in part
    }
    first = placeholder(part, cidr) if gateway is None else None
    if first is not None:
        kept[first] = "kept for Docker, which needs a gateway"
    return kept

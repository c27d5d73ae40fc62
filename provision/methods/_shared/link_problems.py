"""Problems of a host whose interfaces are down, lost their addresses, or lead elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.facts.host import HostFacts
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.text import listed


def without_address(facts: HostFacts, address: IPv4Address) -> Problem:
    addresses = [str(a) for link in facts.links.values() for a in link.addresses]
    message = f"none of its interfaces has its address {address}; it has {', '.join(addresses)}"
    hint = f"write the address that its peers reach as hosts.{facts.host}.address"
    return Problem(facts.host, *with_cause(facts, message, hint))


def with_cause(facts: HostFacts, message: str, hint: str) -> tuple[str, str]:
    """A message that the host lacks its address, and its hint: with the interfaces that are down.

    systemd-networkd takes the addresses of a NIC away that is down.
    """
    down = tuple(link.name for link in facts.links.values() if not link.up)
    if not down:
        return message, hint
    verb = "is down" if len(down) == 1 else "are down"
    return (
        f"{listed(down)} {verb}; {message}",
        f"run `ip link set dev {down[0]} up` on it, or {hint}",
    )


def nic_problems(network: Network, facts: HostFacts, nic: str) -> Iterator[Problem]:
    """Yield a problem if the NIC that carries the network is down."""
    link = facts.links.get(nic)
    if link is not None and not link.up:
        message = f"{nic} is down, so its containers of network {network.name} reach no other host"
        yield Problem(facts.host, message, f"run `ip link set dev {nic} up` on it")


def without_route(facts: HostFacts, peer: str, address: IPv4Address) -> Problem:
    """The kernel drops the routes of an interface that is down: name that as the cause."""
    for link in facts.links.values():
        if not link.up and any(address in held.network for held in link.addresses):
            message = f"{link.name}, which leads to {peer} ({address}), is down"
            return Problem(facts.host, message, f"run `ip link set dev {link.name} up` on it")
    return Problem(facts.host, f"it has no route to {peer} ({address})")


def wrongly_reached(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    *,
    one_link: bool,
    routed: frozenset[IPv4Address] = frozenset(),
) -> frozenset[IPv4Address]:
    """The addresses of the network's hosts without a route, or with a route by another way.

    With `one_link`, a router is another way, but to those of `routed`.
    """
    nic, wrong = inventory.hosts[facts.host].nic, inventory.addresses[network.name]
    for route, peers in facts.peer_routes.groups.items():
        by_router = route.via is not None and one_link
        # If the NIC is a port, also of another inventory's bridge, the route's device is above it.
        if nic is None or _leaves_by(facts, route.dev, nic):
            wrong -= peers & routed if by_router else peers
    return wrong - {inventory.hosts[facts.host].address}


def _leaves_by(facts: HostFacts, dev: str, nic: str) -> bool:
    """Return True if what is sent to `dev` leaves by `nic`."""
    port = facts.nics.get(nic)
    return facts.carrier(dev) == nic or (port is not None and port.master == dev)

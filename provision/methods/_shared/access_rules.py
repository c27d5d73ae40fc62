"""The rules by which a host accepts and drops packets to its containers' own addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, collapse_addresses

from provision.model.inventory import Inventory, Network
from provision.resources.kinds.iptables_chain import comment
from provision.resources.on_hosts import Mark

# The state DNAT tells packets to a published port, of which Docker has translated the destination,
# from those to the container's own address. The former are left to Docker.
_STATE, _FLAG = ("-m", "conntrack"), "--ctstate"


def sources(inventory: Inventory, network: Network) -> tuple[IPv4Network, ...]:
    """The ranges of sources that may reach the containers, as few as possible."""
    access = network.access
    if access is None:
        return ()
    hosts = inventory.hosts.values() if access.hosts else ()
    addresses = (IPv4Network(host.address) for host in hosts)
    return tuple(collapse_addresses((*addresses, *access.ranges)))


def rules(
    inventory: Inventory, network: Network, host: str, bridge: str, *, single_l2: bool
) -> Iterator[tuple[str, ...]]:
    """Yield the last rules of the network's chain in DOCKER-USER.

    They accept what access allows, and its answers, and drop all else that others send to the
    containers' own addresses. With `single_l2`, a packet to a container of another host leaves by
    the bridge, too, and no rule of that host would see it.
    """
    if network.access is None:
        return
    subnet, marked = network.subnets[host], comment(Mark(inventory.name, network.name))
    for match in matches(inventory, network, subnet):
        yield (*match, "-o", bridge, *marked, *_STATE, "!", _FLAG, "DNAT", "-j", "ACCEPT")
    answers = (*_STATE, _FLAG, "RELATED,ESTABLISHED")
    yield ("-s", str(subnet), "-i", bridge, *marked, *answers, "-j", "ACCEPT")
    rest = (*_STATE, "!", _FLAG, "RELATED,ESTABLISHED,DNAT")
    reached = (str(network.cidr if single_l2 else subnet), "!", "-i", bridge)
    out = ("-o", bridge) if single_l2 else ()
    yield ("-d", *reached, *out, *marked, *rest, "-j", "DROP")


def matches(
    inventory: Inventory, network: Network, subnet: IPv4Network
) -> Iterator[tuple[str, ...]]:
    """Yield the matches of packets that may reach a subnet, as `iptables -S` prints them."""
    assert network.access is not None
    for source in sources(inventory, network):
        yield ("-s", str(source), "-d", str(subnet))
    for interface in network.access.interfaces:
        yield ("-d", str(subnet), "-i", interface)

"""What a plan says of the subnets that hosts keep, although the file gives them others. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from ipaddress import IPv4Network

from provision import methods
from provision.model.inventory import Inventory, Network
from provision.model.problems import Problem
from provision.model.text import count, listed


def explicit_lines(inventory: Inventory) -> Iterator[str]:
    """Yield what to write into the file where hosts keep subnets that it does not give them."""
    for network in inventory.networks.values():
        if network.kept:
            keepers = tuple(f"{host} {subnet}" for host, subnet in network.kept.items())
            yield (
                f"network '{network.name}': by their place in the file, hosts would get other "
                f"subnets than {listed(keepers)}, and they keep these. To make that explicit, "
                f"write: networks.{network.name}.subnets: {_written_value(network)}"
            )


def _written_value(network: Network) -> str:
    """The value of `subnets` with what it has already, and with the subnets that are kept.

    A host that is not at its place for another reason is written, too: it has the first block that
    was free, which the new entries may change.
    """
    bounds = methods.of(network).subnet_bounds(network)
    low = int(bounds[0] if bounds else network.cidr.network_address)
    pins = []
    for position, host in enumerate(network.hosts):
        subnet = network.subnets[host]
        place = low + position * subnet.num_addresses
        if {host} & (network.written | network.kept.keys()) or int(subnet.network_address) != place:
            pins.append(host)
    return "{" + ", ".join(f"{host}: {network.subnets[host]}" for host in pins) + "}"


def _full(inventory: Inventory, answered: Collection[str]) -> Iterator[Problem]:
    """Yield the hosts whose kept subnets have fewer addresses than the file has containers.

    The rules of the file judge by the subnets that it gives, which may be larger.
    """
    numbers = Counter((member.network, member.host) for member in inventory.members.values())
    for network in inventory.networks.values():
        for host, subnet in network.kept.items():
            method, number = methods.of(network), numbers[network.name, host]
            capacity = method.capacity(subnet) - len(method.withheld(network, subnet))
            if host in answered and number > capacity:
                yield Problem(
                    host,
                    f"it has {subnet} of network '{network.name}', which has no room for "
                    f"{count(number, 'container')}",
                    f"write networks.{network.name}.subnets: {{{host}: SUBNET}}, a larger one",
                )


def problems(inventory: Inventory, answered: Collection[str]) -> Iterator[Problem]:
    """Yield what the subnets that hosts keep have no room for: too many containers of a host, or
    fixed addresses."""
    yield from _full(inventory, answered)
    for member in inventory.members.values():
        network = inventory.networks.get(member.network)
        if network is None or member.address is None or member.host not in answered:
            continue
        subnet = network.kept.get(member.host)
        if subnet is None:
            continue
        withheld = methods.of(network).withheld(network, subnet)
        if member.address in withheld:
            yield Problem(
                member.host,
                f"{member.name} has address {member.address}, which is {withheld[member.address]}",
                f"choose another of {subnet}",
            )
        elif member.address not in subnet:
            wanted = IPv4Network((int(member.address), subnet.prefixlen), strict=False)
            yield Problem(
                member.host,
                f"{member.name} has address {member.address}, but {member.host} has {subnet} of "
                f"network '{network.name}'",
                f"choose an address of {subnet}, or write networks.{network.name}.subnets: "
                f"{{{member.host}: {wanted}}}, which moves all containers of {member.host} there",
            )

"""The size of the largest packet between two containers, and the host that limits it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from provision import methods
from provision.checks.modes import container_link
from provision.checks.probe import Endpoint
from provision.facts.host import HostFacts
from provision.facts.topology import HostTopology
from provision.model.inventory import Inventory, Network
from provision.model.text import count


def host_mtu(inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]) -> int:
    """The MTU that these hosts alone would give the network; the smallest NIC counts."""
    return methods.of(network).mtu(inventory, network, facts)


def pair_mtu(
    inventory: Inventory, facts: Mapping[str, HostFacts], source: Endpoint, target: Endpoint
) -> int:
    """Bytes of the largest packet that the hosts of two containers carry between them.

    A third host whose NIC has a smaller MTU does not stand in their way.
    """
    network = inventory.networks.get(source.segment)
    if network is None:
        return source.mtu
    ends = {host: facts[host] for host in (source.host, target.host) if host in facts}
    return host_mtu(inventory, network, ends)


def tested_mtu(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    topologies: Mapping[str, HostTopology],
    source: Endpoint,
    target: Endpoint,
) -> int:
    """Bytes of the packet that has to arrive: what the source sends and the hosts can carry.

    At least the MTU of the network, so that a container with a smaller one fails.
    """
    link = _link_mtu(topologies, source)
    return max(source.mtu, min(pair_mtu(inventory, facts, source, target), link or source.mtu))


def mtu_error(
    inventory: Inventory,
    facts: Mapping[str, HostFacts],
    topologies: Mapping[str, HostTopology],
    source: Endpoint,
    target: Endpoint,
) -> str:
    """The reason why a container sends larger packets than arrive; empty if it does not."""
    link, limit = _link_mtu(topologies, source), pair_mtu(inventory, facts, source, target)
    if link <= limit:
        return ""
    interface = _link_name(topologies, source)
    network = inventory.networks[source.segment]
    by_host = {host: host_mtu(inventory, network, {host: facts[host]}) for host in facts}
    least = min((source.host, target.host), key=lambda host: by_host.get(host, link))
    if by_host.get(least, link) < max(by_host.values(), default=0):
        if source.host == target.host:
            return ""  # their packets do not leave the host
        nic = _nic(inventory, facts[least], inventory.hosts[least].address)
        return (
            f"{least} carries only {count(limit, 'byte')} ({nic}), and the {interface} of "
            f"{source.container} sends up to {link}"
        )
    return f"the MTU of its {interface} is {link}, that of the network {limit}"


def _nic(inventory: Inventory, facts: HostFacts, address: IPv4Address) -> str:
    link = facts.link_with(address)
    nic = inventory.hosts[facts.host].nic or (link.name if link else "")
    return f"MTU {facts.links[nic].mtu} of {nic}" if nic in facts.links else "its NIC"


def _link_mtu(topologies: Mapping[str, HostTopology], endpoint: Endpoint) -> int:
    link = (
        container_link(endpoint, topologies[endpoint.host]) if endpoint.host in topologies else None
    )
    return link.mtu if link else 0


def _link_name(topologies: Mapping[str, HostTopology], endpoint: Endpoint) -> str:
    link = container_link(endpoint, topologies[endpoint.host])
    return link.name if link else ""

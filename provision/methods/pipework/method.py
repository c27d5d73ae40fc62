"""Method `pipework`: containers sit on the hosts' own LAN, by a bridge with the NIC as its port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import provision.methods.pipework.nic as nic
import provision.methods.pipework.nic_checks as nic_checks
import provision.methods.pipework.resources as resources
from provision.facts.host import HostFacts
from provision.methods.pipework.options import Options as Options
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, Resource

Facts = Mapping[str, HostFacts]


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    size = mtu(inventory, network, facts)
    for host in network.hosts:
        if host in facts:
            yield from resources.resources(inventory, network, facts[host], mtu=size)


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host's NIC can send: on one link no router says."""
    seen = [nic.uplink(inventory, network, facts[host]) for host in network.hosts if host in facts]
    return network.mtu or min((link.mtu for link in seen if link), default=1500)


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    for host in network.hosts:
        if host in facts:
            yield from nic_checks.findings(inventory, network, facts[host])


def tools(network: Network, host: str) -> tuple[str, ...]:  # noqa: ARG001
    """Commands of a host that the method needs beside those of every method."""
    return ("ovs-vsctl", "ethtool") if nic.options(network).kind == "ovs" else ()


def attachment(network: Network, host: str) -> Ref:
    """What Docker puts a container of this network on."""
    if nic.options(network).docker0:
        return Ref(host, "docker0", "docker0")
    return Ref(host, "docker_network", network.name)


def flat(network: Network) -> bool:  # noqa: ARG001
    """A broadcast of one container reaches all others: they are on one LAN."""
    return True


def plug(network: Network, host: str) -> Ref:
    """The bridge that interfaces of containers join."""
    return nic.bridge_ref(network, host)

"""Method `routes`: each host holds a part of the network; static routes lead to the other parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.model.errors import UnfitError
from provision.model.inventory import Inventory, Network
from provision.resources.base import Ref, Resource
from provision.resources.kinds.route import Route
from provision.resources.kinds.sysctl import Sysctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What YAML may say of a `routes` network, beside the keys of every network.

    bridge: `docker0` lets Docker's own default bridge take the host's part; None makes a
    Docker network of its own and restarts no daemon.
    """

    method: ClassVar[str] = "routes"
    bridge: Literal["docker0"] | None = None


Facts = Mapping[str, HostFacts]


def desired(inventory: Inventory, network: Network, facts: Facts) -> Iterator[Resource]:
    """The resources of one network on every host in `facts`."""
    size = mtu(inventory, network, facts)
    for host in network.hosts:
        if host in facts:
            yield from _host(inventory, network, facts[host], size)


def mtu(inventory: Inventory, network: Network, facts: Facts) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others."""
    return docker_bridge.mtu(inventory, network, facts)


def _host(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Iterator[Resource]:
    host, nics = facts.host, docker_bridge.nics(inventory, network, facts)
    yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    yield docker_bridge.bridge(inventory, network, facts, mtu=mtu, nics=nics)
    for peer, subnet in network.subnets.items():
        if peer != host:
            address = inventory.hosts[peer].address
            way = facts.peer_routes.get(address)
            device = way.dev if way else ""
            ssh = facts.ssh_from is not None and facts.ssh_from in subnet
            yield Route(host, subnet, address, device, inventory.name, ssh)
    yield from docker_bridge.chains(inventory, network, host, nics)


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    for host in network.hosts:
        if host in facts:
            yield from docker_bridge.findings(inventory, network, facts[host])
            for peer in network.hosts:
                if peer != host:
                    yield from _peer_findings(inventory, facts[host], peer)


def _peer_findings(inventory: Inventory, facts: HostFacts, peer: str) -> Iterator[UnfitError]:
    address, nic = inventory.hosts[peer].address, inventory.hosts[facts.host].nic
    way = facts.peer_routes.get(address)
    if way is None:
        yield UnfitError(facts.host, f"it has no route to {peer} ({address})")
    elif way.via is not None:
        yield UnfitError(
            facts.host,
            f"{peer} ({address}) is not on the same link: it is reached through {way.via}",
            "direct routes need all hosts on one link; the router between would not know them",
        )
    elif nic is not None and facts.carrier(way.dev) != nic:
        yield UnfitError(facts.host, f"{peer} ({address}) is reached by {way.dev}, not by {nic}")


def attachment(network: Network, host: str) -> Ref:
    """What a container of this network is put on."""
    return docker_bridge.attachment(network, host)

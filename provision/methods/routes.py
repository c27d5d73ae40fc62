"""Method `routes`: each host holds a part of the network; static routes lead to the other parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar, Literal, cast

from provision.address import chain_name, gateway, interface_name
from provision.errors import UnfitError
from provision.hostfacts import HostFacts
from provision.inventory import Inventory, Network
from provision.resource import Ref, Resource
from provision.resources import docker0, docker_network
from provision.resources.chain import Chain
from provision.resources.docker0 import Docker0
from provision.resources.docker_network import DockerNetwork
from provision.resources.route import Route
from provision.resources.sysctl import Sysctl


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
    links = [
        facts[host].link_with(inventory.hosts[host].address)
        for host in network.hosts
        if host in facts
    ]
    # On one link there is no router to say "too big", so the smallest link counts for all.
    return network.mtu or min((link.mtu for link in links if link), default=1500)


def _host(inventory: Inventory, network: Network, facts: HostFacts, mtu: int) -> Iterator[Resource]:
    host, nics = facts.host, _nics(inventory, network, facts)
    yield Sysctl(host, "net.ipv4.ip_forward", "1", inventory.name)
    yield _bridge(inventory, network, facts, mtu, nics)
    for peer, subnet in network.subnets.items():
        if peer != host:
            address = inventory.hosts[peer].address
            way = facts.ways.get(address)
            yield Route(host, subnet, address, way.dev if way else "", inventory.name)
    yield from _chains(inventory, network, host, nics)


def _bridge(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, nics: tuple[str, ...]
) -> Resource:
    subnet = network.subnets[facts.host]
    if _on_docker0(network):
        asked, shown = docker0.settings(
            gateway=f"{gateway(subnet)}/{subnet.prefixlen}",
            subnet=str(subnet),
            mtu=mtu,
            direct=facts.docker >= (28, 2),
        )
        return Docker0(facts.host, asked, shown, inventory.name)
    options = {
        docker_network.BRIDGE_NAME: _bridge_name(inventory, network),
        docker_network.MTU: str(mtu),
        # Docker's own rule would hide the source from the other hosts' containers.
        docker_network.MASQUERADE: "false",
    }
    if facts.docker >= (28, 2):
        # Since 28 Docker drops what comes to a container from another host, in the raw table,
        # before any chain of a user; this is its own exception, by interface.
        options[docker_network.TRUSTED] = ":".join(nics)
    elif facts.docker >= (28, 0):
        options[docker_network.GATEWAY_MODE] = "routed"
    return DockerNetwork(
        facts.host,
        network.name,
        subnet,
        gateway(subnet),
        tuple(sorted(options.items())),
        f"{inventory.name}/{network.name}",
    )


def _chains(
    inventory: Inventory, network: Network, host: str, nics: tuple[str, ...]
) -> Iterator[Chain]:
    mark, name = f"{inventory.name}/{network.name}", chain_name(inventory.name, network.name)
    own, whole = network.subnets[host], network.cidr
    bridge = _bridge_name(inventory, network)
    accepts = []
    for nic in nics:
        accepts.append(_rule(mark, whole, own, ("-i", nic, "-o", bridge), "ACCEPT"))
        accepts.append(_rule(mark, own, whole, ("-i", bridge, "-o", nic), "ACCEPT"))
    yield Chain(host, "filter", name, "DOCKER-USER", tuple(accepts), mark)
    translation = [_rule(mark, own, whole, (), "ACCEPT")]
    if network.egress == "masquerade":
        translation.append(_egress(mark, own, bridge))
    yield Chain(host, "nat", name, "POSTROUTING", tuple(translation), mark)


def _rule(
    mark: str, source: IPv4Network, target: IPv4Network, links: tuple[str, ...], verdict: str
) -> tuple[str, ...]:
    # In the order in which `iptables -S` prints a rule, so that both are equal.
    comment = ("-m", "comment", "--comment", f"provision:{mark}")
    return ("-s", str(source), "-d", str(target), *links, *comment, "-j", verdict)


def _egress(mark: str, own: IPv4Network, bridge: str) -> tuple[str, ...]:
    comment = ("-m", "comment", "--comment", f"provision:{mark}")
    return ("-s", str(own), "!", "-o", bridge, *comment, "-j", "MASQUERADE")


def findings(inventory: Inventory, network: Network, facts: Facts) -> Iterator[UnfitError]:
    """Why hosts that were seen cannot serve this network."""
    for host in network.hosts:
        if host in facts:
            yield from _own_findings(inventory, network, facts[host])
            for peer in network.hosts:
                if peer != host:
                    yield from _peer_findings(inventory, facts[host], peer)


def _own_findings(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[UnfitError]:
    address = inventory.hosts[facts.host].address
    link = facts.link_with(address)
    if link is not None and network.mtu is not None and network.mtu > link.mtu:
        yield UnfitError(
            facts.host,
            f"network {network.name} asks for an mtu of {network.mtu}, and {link.name} carries "
            f"{link.mtu}",
            f"write mtu: {link.mtu} or less, or leave it out",
        )
    if link is None:
        held = [str(a) for link in facts.links.values() for a in link.addresses]
        yield UnfitError(
            facts.host,
            f"its address {address} is on none of its interfaces; it has {', '.join(held)}",
            f"give the address that its peers reach as hosts.{facts.host}.address",
        )
    if _on_docker0(network) and (28, 0) <= facts.docker < (28, 2):
        yield UnfitError(
            facts.host,
            "Docker 28.0 and 28.1 keep other hosts from containers on docker0",
            "use Docker 28.2 or newer, or leave out `bridge: docker0`",
        )


def _peer_findings(inventory: Inventory, facts: HostFacts, peer: str) -> Iterator[UnfitError]:
    address, nic = inventory.hosts[peer].address, inventory.hosts[facts.host].nic
    way = facts.ways.get(address)
    if way is None:
        yield UnfitError(facts.host, f"it has no route to {peer} ({address})")
    elif way.via is not None:
        yield UnfitError(
            facts.host,
            f"{peer} ({address}) is not on the same link: it is reached through {way.via}",
            "direct routes need all hosts on one link; the router between would not know them",
        )
    elif nic is not None and way.dev != nic:
        yield UnfitError(facts.host, f"{peer} ({address}) is reached by {way.dev}, not by {nic}")


def attachment(network: Network, host: str) -> Ref:
    """What a container of this network is put on."""
    if _on_docker0(network):
        return Ref(host, "docker0", "docker0")
    return Ref(host, "docker_network", network.name)


def _on_docker0(network: Network) -> bool:
    return cast(Options, network.options).bridge == "docker0"


def _bridge_name(inventory: Inventory, network: Network) -> str:
    return (
        "docker0" if _on_docker0(network) else interface_name("br-", inventory.name, network.name)
    )


def _nics(inventory: Inventory, network: Network, facts: HostFacts) -> tuple[str, ...]:
    """The interfaces behind which the peers are."""
    peers = [inventory.hosts[peer].address for peer in network.hosts if peer != facts.host]
    ways = {facts.ways[peer].dev for peer in peers if peer in facts.ways}
    return tuple(sorted(ways))

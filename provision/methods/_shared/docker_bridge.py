"""A host's part of a network: the bridge that Docker puts containers on, and rules for it. Pure.

What a method adds is how the parts reach each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from provision.facts.host import HostFacts
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name, gateway, interface_name
from provision.model.problems import Problem
from provision.model.text import listed
from provision.resources.base import Ref, Resource
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import (
    BRIDGE_NAME,
    GATEWAY_MODE,
    MASQUERADE,
    MTU,
    TRUSTED,
    DockerNetwork,
)
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.lib import daemon_json
from provision.resources.on_hosts import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """The key `bridge` of a network.

    None creates a Docker network for the subnet, which restarts no daemon.
    """

    bridge: Annotated[Literal["docker0"] | None, Help("docker0: use Docker's default bridge")] = (
        None
    )


def bridge(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    *,
    mtu: int,
    nics: tuple[str, ...] = (),
    single_l2: bool = False,
) -> Resource:
    """Docker's bridge with the host's part on it; through `nics` the other parts come in.

    `single_l2`: all bridges of the network are one layer 2. Then each has the whole range, of which
    Docker hands out the host's part.
    """
    part = network.subnets[facts.host]
    subnet = network.cidr if single_l2 else part
    if on_docker0(network):
        asked, shown = daemon_json.docker0_settings(
            gateway=f"{gateway(part)}/{subnet.prefixlen}",
            subnet=str(subnet),
            mtu=mtu,
            direct=not single_l2 and facts.docker >= (28, 2),
            ip_range=str(part) if single_l2 else "",
        )
        return Docker0(facts.host, asked, shown, inventory.name)
    options = {
        BRIDGE_NAME: bridge_name(inventory, network),
        MTU: str(mtu),
        # Docker's own rule would hide the source from the other hosts' containers.
        MASQUERADE: "false",
    }
    if single_l2:
        pass  # what comes from other hosts comes by a port of the bridge, which Docker lets pass
    elif facts.docker >= (28, 2):
        # Since 28 Docker drops what comes to a container from another host, in the raw table,
        # before any chain of a user; this is its own exception, by interface.
        options[TRUSTED] = ":".join(nics)
    elif facts.docker >= (28, 0):
        options[GATEWAY_MODE] = "routed"
    return DockerNetwork(
        facts.host,
        network.name,
        subnet,
        gateway(part),
        tuple(sorted(options.items())),
        Mark(inventory.name, network.name),
        part if single_l2 else None,
        ssh=facts.ssh_from is not None and facts.ssh_from in subnet,
    )


def chains(
    inventory: Inventory, network: Network, host: str, nics: tuple[str, ...] = ()
) -> Iterator[IptablesChain]:
    """Rules that let the network's own traffic pass between bridge and `nics`, untranslated."""
    mark, name = Mark(inventory.name, network.name), chain_name(inventory.name, network.name)
    own, whole = network.subnets[host], network.cidr
    bridge = bridge_name(inventory, network)
    accepts = []
    for nic in nics:
        accepts.append(_rule(mark, whole, own, ("-i", nic, "-o", bridge), "ACCEPT"))
        accepts.append(_rule(mark, own, whole, ("-i", bridge, "-o", nic), "ACCEPT"))
    if accepts:
        yield IptablesChain(host, "filter", name, "DOCKER-USER", tuple(accepts), mark)
    translation = [_rule(mark, own, whole, (), "ACCEPT")]
    if network.egress == "masquerade":
        translation.append(_egress(mark, own, bridge))
    yield IptablesChain(host, "nat", name, "POSTROUTING", tuple(translation), mark)


def _rule(
    mark: Mark, source: IPv4Network, target: IPv4Network, links: tuple[str, ...], verdict: str
) -> tuple[str, ...]:
    # In the order in which `iptables -S` prints a rule, so that both are equal.
    return ("-s", str(source), "-d", str(target), *links, *comment(mark), "-j", verdict)


def _egress(mark: Mark, own: IPv4Network, bridge: str) -> tuple[str, ...]:
    return ("-s", str(own), "!", "-o", bridge, *comment(mark), "-j", "MASQUERADE")


def docker_network(network: Network, host: str) -> Ref:
    """The resource that Docker attaches a container of this host to."""
    if on_docker0(network):
        return Ref(host, "docker0", "docker0")
    return Ref(host, "docker_network", network.name)


def on_docker0(network: Network) -> bool:
    """True if Docker's own default bridge carries the host's subnet."""
    return uses_docker0(network.options)


def uses_docker0(options: object) -> bool:
    """True if these are the options of a network on Docker's own default bridge."""
    return isinstance(options, BridgeOptions) and options.bridge == "docker0"


def bridge_name(inventory: Inventory, network: Network) -> str:
    """The bridge's interface on the host."""
    return "docker0" if on_docker0(network) else interface_name("br-", inventory.name, network.name)


def nics(inventory: Inventory, network: Network, facts: HostFacts) -> tuple[str, ...]:
    """The interfaces behind which the peers are."""
    peers = [inventory.hosts[peer].address for peer in network.hosts if peer != facts.host]
    ways = {facts.peer_routes[peer].dev for peer in peers if peer in facts.peer_routes}
    return tuple(sorted(ways))


def mtu(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts], *, overhead: int = 0
) -> int:
    """Bytes of the largest packet that every host in `facts` can send to the others."""
    links = [
        facts[host].link_with(inventory.hosts[host].address)
        for host in network.hosts
        if host in facts
    ]
    # On one link there is no router to say "too big", so the smallest link counts for all.
    return network.mtu or min((link.mtu for link in links if link), default=1500) - overhead


def problems(
    inventory: Inventory, network: Network, facts: HostFacts, *, overhead: int = 0
) -> Iterator[Problem]:
    """Yield the reasons why a host cannot carry its part; `overhead`: bytes a packet grows by."""
    address = inventory.hosts[facts.host].address
    link = facts.link_with(address)
    if link is not None and network.mtu is not None and network.mtu > link.mtu - overhead:
        grows = f" less {overhead} for the tunnel" if overhead else ""
        yield Problem(
            facts.host,
            f"network {network.name} asks for an mtu of {network.mtu}, and {link.name} carries "
            f"{link.mtu}{grows}",
            f"write mtu: {link.mtu - overhead} or less, or leave it out",
        )
    if link is None:
        held = [str(a) for link in facts.links.values() for a in link.addresses]
        yield Problem(
            facts.host,
            f"its address {address} is on none of its interfaces; it has {', '.join(held)}"
            f"{_down(facts)}",
            f"give the address that its peers reach as hosts.{facts.host}.address",
        )
    if on_docker0(network) and (28, 0) <= facts.docker < (28, 2):
        yield Problem(
            facts.host,
            "Docker 28.0 and 28.1 keep other hosts from containers on docker0",
            "use Docker 28.2 or newer, or leave out `bridge: docker0`",
        )


def peer_problems(
    inventory: Inventory, network: Network, facts: HostFacts, *, one_link: str = ""
) -> Iterator[Problem]:
    """Yield the reasons why a host cannot send to its peers.

    `one_link`: the hint for a peer behind a router, where the method needs all hosts on one link;
    empty where routers may be between.
    """
    nic = inventory.hosts[facts.host].nic
    for peer in network.hosts:
        address = inventory.hosts[peer].address
        route = facts.peer_routes.get(address)
        if peer == facts.host:
            continue
        if route is None:
            yield _without_route(facts, peer, address)
        elif route.via is not None and one_link:
            message = f"{peer} ({address}) is not on the same link: it is reached through"
            yield Problem(facts.host, f"{message} {route.via}", one_link)
        # Under Open vSwitch the route leaves by the bridge that took the NIC's addresses.
        elif nic is not None and facts.carrier(route.dev) != nic:
            message = f"{peer} ({address}) is reached by {route.dev}, not by {nic}"
            yield Problem(facts.host, message)


def _down(facts: HostFacts) -> str:
    """The interfaces that are down: systemd-networkd takes the addresses of such a NIC away."""
    down = tuple(link.name for link in facts.links.values() if not link.up)
    return f"; down: {listed(down)}" if down else ""


def _without_route(facts: HostFacts, peer: str, address: IPv4Address) -> Problem:
    """The kernel drops the routes of an interface that is down: name that as the cause."""
    for link in facts.links.values():
        if not link.up and any(address in held.network for held in link.addresses):
            message = f"{link.name}, which leads to {peer} ({address}), is down"
            return Problem(facts.host, message, f"run `ip link set dev {link.name} up` on it")
    return Problem(facts.host, f"it has no route to {peer} ({address})")

"""The Docker bridge of a network on one host, and the firewall rules for its traffic. Pure.

A method adds the path from one host's bridge to the others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from provision.facts.host import HostFacts
from provision.methods._shared import access_rules, docker_versions, link_problems
from provision.model.help import Help
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name, gateway, interface_name
from provision.model.needs import Need, Transit
from provision.model.problems import Problem
from provision.model.tunnel import Tunnel
from provision.resources.base import Ref, Resource
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.sysctl import IP_FORWARD, Sysctl, forwarding_key
from provision.resources.lib import daemon_json
from provision.resources.lib.network_options import (
    BRIDGE_NAME,
    MASQUERADE,
    MTU,
)
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
    """The Docker network of a host, or Docker's default bridge with `bridge: docker0`.

    `nics` are the interfaces that packets of the other hosts' containers arrive at. With
    `single_l2`, the bridges of all hosts are one layer 2: each has the whole range of the network,
    and Docker hands out only the host's subnet of it.
    """
    host_subnet = network.subnets[facts.host]
    subnet = network.cidr if single_l2 else host_subnet
    if on_docker0(network):
        return _docker0(inventory, network, facts, mtu, single_l2=single_l2)
    options = {
        BRIDGE_NAME: bridge_name(inventory, network),
        MTU: str(mtu),
        # Docker would masquerade packets to other hosts, whose containers then see the host's
        # address instead of the sender's. `chains` masquerades only what leaves the network.
        MASQUERADE: "false",
        **({} if single_l2 else docker_versions.reachable(facts, nics)),
    }
    return DockerNetwork(
        facts.host,
        network.name,
        subnet,
        gateway(host_subnet),
        tuple(sorted(options.items())),
        Mark(inventory.name, network.name),
        host_subnet if single_l2 else None,
        ssh=facts.ssh_from is not None and facts.ssh_from in subnet,
    )


def _docker0(
    inventory: Inventory, network: Network, facts: HostFacts, mtu: int, *, single_l2: bool
) -> Docker0:
    host_subnet = network.subnets[facts.host]
    subnet = network.cidr if single_l2 else host_subnet
    settings, inspected = daemon_json.docker0_settings(
        gateway=f"{gateway(host_subnet)}/{subnet.prefixlen}",
        subnet=str(subnet),
        mtu=mtu,
        direct=not single_l2 and docker_versions.trusts_interfaces(facts),
        ip_range=str(host_subnet) if single_l2 else "",
    )
    return Docker0(facts.host, settings, inspected, inventory.name)


def chains(
    inventory: Inventory,
    network: Network,
    host: str,
    nics: tuple[str, ...] = (),
    *,
    relay: bool = False,
    single_l2: bool = False,
) -> Iterator[IptablesChain]:
    """Accept the network's traffic between its bridge and `nics`, and masquerade other traffic.

    With `relay`, the host also passes on what other hosts send each other.
    """
    mark, name = Mark(inventory.name, network.name), chain_name(inventory.name, network.name)
    subnet, cidr = network.subnets[host], network.cidr
    bridge = bridge_name(inventory, network)
    accepts = []
    for nic in nics:
        accepts.append(_rule(mark, cidr, subnet, ("-i", nic, "-o", bridge), "ACCEPT"))
        accepts.append(_rule(mark, subnet, cidr, ("-i", bridge, "-o", nic), "ACCEPT"))
        if relay:
            accepts.append(_rule(mark, cidr, cidr, ("-i", nic, "-o", nic), "ACCEPT"))
    accepts += access_rules.rules(inventory, network, host, bridge, single_l2=single_l2)
    if accepts:
        yield IptablesChain(host, "filter", name, "DOCKER-USER", tuple(accepts), mark)
    # ACCEPT ends the nat table for a packet: no later rule masquerades it.
    translations = [_rule(mark, subnet, cidr, (), "ACCEPT")]
    if network.egress == "masquerade":
        translations.append(_masquerade(mark, subnet, bridge))
    yield IptablesChain(host, "nat", name, "POSTROUTING", tuple(translations), mark)


def forwarding(
    inventory: Inventory, network: Network, facts: HostFacts, nics: tuple[str, ...] = ()
) -> Iterator[Sysctl]:
    """Settings with which the host forwards between the bridge and `nics`."""
    yield Sysctl(facts.host, IP_FORWARD, "1", inventory.name)
    links = {bridge_name(inventory, network), *nics} & facts.not_forwarding
    for link in sorted(links):
        yield Sysctl(facts.host, forwarding_key(link), "1", inventory.name)


def _rule(
    mark: Mark, source: IPv4Network, target: IPv4Network, links: tuple[str, ...], verdict: str
) -> tuple[str, ...]:
    # In the order of `iptables -S`, so that the parsed rule equals this one.
    return ("-s", str(source), "-d", str(target), *links, *comment(mark), "-j", verdict)


def _masquerade(mark: Mark, subnet: IPv4Network, bridge: str) -> tuple[str, ...]:
    return ("-s", str(subnet), "!", "-o", bridge, *comment(mark), "-j", "MASQUERADE")


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
    """The name of the bridge on the host."""
    return "docker0" if on_docker0(network) else interface_name("br-", inventory.name, network.name)


def nics(inventory: Inventory, network: Network, facts: HostFacts) -> tuple[str, ...]:
    """The interfaces by which the host sends to its peers."""
    routes = facts.peer_routes.to_any(inventory.addresses[network.name])
    return tuple(sorted({route.dev for route in routes}))


def incoming_links(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    tunnel: Tunnel | None,
    devices: tuple[str, ...],
) -> tuple[str, ...]:
    """The interfaces by which packets of other hosts' containers come in, to be routed.

    Those of a tunnel come in by its `devices`.
    """
    direct = not devices or (tunnel is not None and tunnel.optional)
    return tuple(sorted({*devices, *(nics(inventory, network, facts) if direct else ())}))


def mtu(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts], *, overhead: int = 0
) -> int:
    """The size in bytes of the largest packet that every host in `facts` can send to the others."""
    hosts = (host for host in network.hosts if host in facts)
    links = [facts[host].link_with(inventory.hosts[host].address) for host in hosts]
    # On a shared link no router sends "fragmentation needed", so the smallest MTU counts for all.
    return network.mtu or min((link.mtu for link in links if link), default=1500) - overhead


def problems(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    *,
    overhead: int = 0,
    single_l2: bool = False,
) -> Iterator[Problem]:
    """Yield the reasons why a host cannot carry its part; `overhead` is that of the tunnel.

    `single_l2` is that of `bridge`.
    """
    address = inventory.hosts[facts.host].address
    link = facts.link_with(address)
    if link is not None and network.mtu is not None and network.mtu > link.mtu - overhead:
        tunnel = f" minus {overhead} for the tunnel" if overhead else ""
        yield Problem(
            facts.host,
            f"network {network.name} has mtu {network.mtu}, but that of {link.name} is "
            f"{link.mtu}{tunnel}",
            f"write mtu: {link.mtu - overhead} or less, or leave it out",
        )
    if link is None:
        yield link_problems.without_address(facts, address)
    yield from docker_versions.problems(
        inventory, network, facts, docker0=on_docker0(network), single_l2=single_l2
    )


def policy_problems(
    inventory: Inventory, network: Network, facts: HostFacts, needs: Iterable[Need]
) -> Iterator[Problem]:
    """Yield the rules of the host's `ip rule` that take the network's packets from their routes."""
    if not facts.policy.rules:
        return
    links = sorted({need.nic for need in needs if isinstance(need, Transit)})
    bridge, own = bridge_name(inventory, network), network.subnets[facts.host]
    priorities: set[int] = set()
    for peer, subnet in network.subnets.items():
        directions = [(own, subnet, bridge), *((subnet, own, link) for link in links)]
        for direction in directions:
            diversion = facts.policy.diversion(*direction, within=network.cidr)
            if peer == facts.host or diversion is None or diversion[0] in priorities:
                continue
            priority, destination = diversion
            priorities.add(priority)
            yield Problem(
                facts.host,
                f"rule {priority} of `ip rule` takes packets of network {network.name} from the "
                f"main table: {destination}",
                f"run `ip rule del priority {priority}` on {facts.host}, or leave {network.cidr} "
                "out of that rule",
            )


def networkd_problems(
    inventory: Inventory, network: Network, facts: HostFacts, devices: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield the file by which systemd-networkd manages the bridge, or one of a tunnel's `devices`.

    A catch-all file (`Name=*`) does. When networkd restarts, it takes away the addresses and the
    masters that it does not know.
    """
    bridge = bridge_name(inventory, network)
    losses = {bridge: "the bridge loses its address and its ports"}
    losses |= dict.fromkeys(devices, "the device loses its address and its routes")
    names = " ".join((*losses, "veth*"))
    for link in (link for link in losses if link in facts.networkd_files):
        yield Problem(
            facts.host,
            f"{facts.networkd_files[link]} makes systemd-networkd manage {link}: when networkd "
            f"restarts, {losses[link]}",
            f"let that file match the NICs only, or write `[Match]`, `Name={names}`, "
            "`[Link]`, `Unmanaged=yes` to /etc/systemd/network/01-unmanaged.network, and run "
            "`networkctl reload`",
        )


def peer_problems(
    inventory: Inventory,
    network: Network,
    facts: HostFacts,
    *,
    one_link: str = "",
    routed: frozenset[IPv4Address] = frozenset(),
    peers: Iterable[str] | None = None,
) -> Iterator[Problem]:
    """Yield the reasons why a host cannot send to its peers, by default all hosts of the network.

    `one_link`: the hint for a peer behind a router, if the method needs all hosts on one link;
    empty if routers may be between the hosts. `routed` are the peers that it does not concern.
    """
    nic = inventory.hosts[facts.host].nic
    # A bridge stays up, and the routes through it, while the NIC that is its port is down.
    for dev in nics(inventory, network, facts):
        yield from link_problems.nic_problems(network, facts, facts.carrier(dev))
    wrong = link_problems.wrongly_reached(
        inventory, network, facts, one_link=bool(one_link), routed=routed
    )
    for peer in (network.hosts if peers is None else peers) if wrong else ():
        address = inventory.hosts[peer].address
        if address not in wrong:
            continue
        route = facts.peer_routes.get(address)
        if route is None:
            yield link_problems.without_route(facts, peer, address)
        elif route.via is not None and one_link:
            message = f"its route to {peer} ({address}) leads through the router {route.via}"
            yield Problem(facts.host, message, one_link)
        else:
            message = f"its route to {peer} ({address}) leaves by {route.dev}, not by {nic}"
            yield Problem(facts.host, message)

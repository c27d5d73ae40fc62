"""Access to the containers of a network by their own addresses, for others than its containers.

The rules are in `access_rules`; this module has the routes, translations and Docker's exceptions
that some methods and hosts need besides. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from provision.facts.host import HostFacts
from provision.methods._shared import access_rules, docker_bridge
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name, gateway
from provision.model.problems import Problem
from provision.resources.base import Resource
from provision.resources.kinds import routes
from provision.resources.kinds.iptables_chain import ACCESS, IptablesChain, comment
from provision.resources.kinds.routes import Routes
from provision.resources.kinds.sysctl import Sysctl, forwarding_key
from provision.resources.on_hosts import Mark

if TYPE_CHECKING:
    from provision.methods._base import Method

RAW_DROPS = (28, 0)
"""The first Docker that drops packets for containers before any chain of users, in table raw."""


def obstacle(method: Method) -> tuple[str, str] | None:
    """Message and hint for a network whose containers cannot have rules of access."""
    if method.on_hosts_lan:
        message = (
            f"method {method.name} puts containers on the LAN of the hosts, where every machine "
            "reaches them without passing a host"
        )
        return message, "remove it, or use another method"
    return None


def resources(
    inventory: Inventory, network: Network, method: Method, facts: Mapping[str, HostFacts]
) -> Iterator[Resource]:
    """Yield what access needs besides the rules of the network's own chains (`access_rules`)."""
    if network.access is None:
        return
    for host in inventory.hosts:
        if host in facts and host in network.subnets:
            yield from _of_member(inventory, network, method, facts[host])
        elif host in facts and network.access.hosts:
            yield from _of_outsider(inventory, network, facts[host])


def _of_member(
    inventory: Inventory, network: Network, method: Method, facts: HostFacts
) -> Iterator[Resource]:
    assert network.access is not None
    host, mark = facts.host, Mark(inventory.name, network.name)
    by_address = network.access.hosts or network.access.ranges
    nics = docker_bridge.nics(inventory, network, facts) if by_address else ()
    links = {*nics, *network.access.interfaces}
    for link in sorted(links & facts.not_forwarding):
        yield Sysctl(host, forwarding_key(link), "1", inventory.name)
    name = chain_name(inventory.name, f"{network.name}.{ACCESS}")
    matches = tuple(access_rules.matches(inventory, network, network.subnets[host]))
    if matches and facts.docker >= RAW_DROPS:
        # A verdict of the first chain ends the table raw: Docker's rules there drop nothing then.
        accepts = tuple((*match, *comment(mark), "-j", "ACCEPT") for match in matches)
        yield IptablesChain(host, "raw", name, "PREROUTING", accepts, mark)
    device = method.strict_device(inventory, network)
    if device and network.access.hosts:
        # The host's own packets would enter the tunnel with its address on the LAN, and the peers
        # take none but those from its subnet. Those that it passes on keep their source: those of
        # other hosts' containers on a relay, and those of strangers, which the peers must not take.
        cidr = str(network.cidr)
        match = ("!", "-s", cidr, "-d", cidr, "-o", device, "-m", "addrtype", "--src-type", "LOCAL")
        target = ("-j", "SNAT", "--to-source", str(gateway(network.subnets[host])))
        rule = (*match, *comment(mark), *target)
        yield IptablesChain(host, "nat", name, "POSTROUTING", (rule,), mark)


def _of_outsider(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Resource]:
    """Yield the routes of a host that has no part in the network, by the hosts that have."""
    rows = [
        routes.row(str(subnet), str(inventory.hosts[peer].address), route.dev)
        for peer, subnet in network.subnets.items()
        if (route := facts.peer_routes.get(inventory.hosts[peer].address)) and route.via is None
    ]
    if rows:
        yield Routes.of(facts.host, network.name, inventory.name, rows, ssh_from=facts.ssh_from)


def members_reach(inventory: Inventory, network: Network, method: Method) -> bool:
    """True if the hosts of a network reach all its containers without any rule of access.

    Their own packets then have an address of the network: that of the bridge, which is on the one
    layer 2, or that of the tunnel's device.
    """
    tunnel = method.tunnel(network)
    own_address = tunnel is not None and not tunnel.optional
    return method.single_l2(network) or (
        own_address and not method.strict_device(inventory, network)
    )


def warnings(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> Iterator[Problem]:
    """Yield interfaces of access that no host of the network has."""
    hosts = [host for host in network.hosts if host in facts]
    if network.access is None or len(hosts) < len(network.hosts):
        return
    for interface in network.access.interfaces:
        if not any(interface in facts[host].links for host in hosts):
            message = f"no host of network {network.name} has {interface}, which access names"
            yield Problem(hosts[0], message, "write the interface by which the packets come")
    if network.access.hosts:
        yield from _unreachable(inventory, network, facts)


def _unreachable(
    inventory: Inventory, network: Network, facts: Mapping[str, HostFacts]
) -> Iterator[Problem]:
    """Yield the hosts outside of the network that reach its hosts only by a router."""
    for host in inventory.hosts:
        if host in facts and host not in network.subnets:
            routers = (
                facts[host].peer_routes.get(inventory.hosts[peer].address) for peer in network.hosts
            )
            if any(route is not None and route.via is not None for route in routers):
                message = (
                    f"it reaches hosts of network {network.name} by a router, which has no routes "
                    "to their containers"
                )
                yield Problem(host, message, f"add it to the hosts of network {network.name}")

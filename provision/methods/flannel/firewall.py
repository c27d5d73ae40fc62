"""Who may reach etcd and the tunnel's port. Pure.

Only hosts reach etcd. A tunnel takes packets from whoever sends them, so it is shut to containers;
those of an allowed host are told from the host itself, before Docker hides them behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.facts.host import HostFacts
from provision.methods._shared import docker_bridge
from provision.methods.flannel.options import device, members, options, port
from provision.model.inventory import Inventory, Network
from provision.model.names import chain_name
from provision.resources.base import Ref
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.on_hosts import Mark

Rule = tuple[str, ...]


def chains(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[IptablesChain]:
    """One for what comes to the host itself, one for what it passes on."""
    mark, host = Mark(inventory.name, network.name), facts.host
    inward = (*_to_tunnel(inventory, network, facts), *_to_etcd(inventory, network, host))
    if inward:
        name = _inward(inventory, network)
        yield IptablesChain(host, "filter", name, "INPUT", inward, mark)
    name = chain_name(inventory.name, f"{network.name}.etcd")
    onward = tuple(_onward(inventory, network))
    yield IptablesChain(host, "filter", name, "DOCKER-USER", onward, mark)


def inward_ref(inventory: Inventory, network: Network, member: str) -> Ref:
    """What lets hosts in to a member of etcd."""
    return Ref(member, "iptables_chain", f"filter/{_inward(inventory, network)}")


def _inward(inventory: Inventory, network: Network) -> str:
    return chain_name(inventory.name, f"{network.name}.in")


def _to_tunnel(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Rule]:
    """By the links to the peers only."""
    number = port(options(network))
    if number is None or device(network) is None:
        return
    for nic in docker_bridge.nics(inventory, network, facts):
        yield _rule(inventory, network, ("-i", nic), "udp", number, "RETURN")
    yield _rule(inventory, network, (), "udp", number, "DROP")


def _to_etcd(inventory: Inventory, network: Network, host: str) -> Iterator[Rule]:
    if host not in members(network):
        return
    for peer in network.hosts:
        who = ("-s", f"{inventory.hosts[peer].address}/32")
        for number in _ports(network):
            yield _rule(inventory, network, who, "tcp", number, "RETURN")
    for number in _ports(network):
        yield _rule(inventory, network, (), "tcp", number, "DROP")


def _onward(inventory: Inventory, network: Network) -> Iterator[Rule]:
    for member in members(network):
        where = ("-d", f"{inventory.hosts[member].address}/32")
        for number in _ports(network):
            yield _rule(inventory, network, where, "tcp", number, "DROP")
    tunnel = port(options(network))
    if tunnel is not None:
        bridge = ("-i", docker_bridge.bridge_name(inventory, network))
        yield _rule(inventory, network, bridge, "udp", tunnel, "DROP")


def _ports(network: Network) -> tuple[int, int]:
    said = options(network).etcd
    return said.client_port, said.peer_port


def _rule(
    inventory: Inventory, network: Network, match: Rule, protocol: str, number: int, verdict: str
) -> Rule:
    # In the words and the order of `iptables -S`, so that both are equal.
    to = ("-p", protocol, "-m", protocol, "--dport", str(number))
    return (*match, *to, *comment(Mark(inventory.name, network.name)), "-j", verdict)

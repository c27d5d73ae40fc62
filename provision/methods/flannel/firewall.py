"""Firewall rules of a flannel network: for etcd's ports, and for the port of the tunnel. Pure.

Only hosts may connect to etcd. The tunnel port accepts packets from any sender, so containers are
denied access to it. The rules run before Docker's masquerading, while container traffic can still
be told apart from the host's own.
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
    """A chain for packets to the host itself, and one for packets that it forwards."""
    mark, host = Mark(inventory.name, network.name), facts.host
    to_host = (*_to_tunnel(inventory, network, facts), *_to_etcd(inventory, network, host))
    if to_host:
        name = _input_chain(inventory, network)
        yield IptablesChain(host, "filter", name, "INPUT", to_host, mark)
    name = chain_name(inventory.name, f"{network.name}.etcd")
    # With an etcd of the user, host-gw has no port that containers must not reach.
    if forwarded := tuple(_forwarded(inventory, network)):
        yield IptablesChain(host, "filter", name, "DOCKER-USER", forwarded, mark)


def input_ref(inventory: Inventory, network: Network, member: str) -> Ref:
    """The chain by which a member of etcd accepts connections of the hosts."""
    return Ref(member, "iptables_chain", f"filter/{_input_chain(inventory, network)}")


def _input_chain(inventory: Inventory, network: Network) -> str:
    return chain_name(inventory.name, f"{network.name}.in")


def _to_tunnel(inventory: Inventory, network: Network, facts: HostFacts) -> Iterator[Rule]:
    """Packets of a tunnel may arrive by the links to the peers only."""
    udp_port = port(options(network))
    if udp_port is None or device(network) is None:
        return
    for nic in docker_bridge.nics(inventory, network, facts):
        yield _rule(inventory, network, ("-i", nic), "udp", udp_port, "RETURN")
    yield _rule(inventory, network, (), "udp", udp_port, "DROP")


def _to_etcd(inventory: Inventory, network: Network, host: str) -> Iterator[Rule]:
    if host not in members(network):
        return
    for peer in network.hosts:
        source = ("-s", f"{inventory.hosts[peer].address}/32")
        for tcp_port in _etcd_ports(network):
            yield _rule(inventory, network, source, "tcp", tcp_port, "RETURN")
    for tcp_port in _etcd_ports(network):
        yield _rule(inventory, network, (), "tcp", tcp_port, "DROP")


def _forwarded(inventory: Inventory, network: Network) -> Iterator[Rule]:
    for member in members(network):
        target = ("-d", f"{inventory.hosts[member].address}/32")
        for tcp_port in _etcd_ports(network):
            yield _rule(inventory, network, target, "tcp", tcp_port, "DROP")
    udp_port = port(options(network))
    if udp_port is not None:
        bridge = ("-i", docker_bridge.bridge_name(inventory, network))
        yield _rule(inventory, network, bridge, "udp", udp_port, "DROP")


def _etcd_ports(network: Network) -> tuple[int, int]:
    etcd = options(network).etcd
    return etcd.client_port, etcd.peer_port


def _rule(
    inventory: Inventory, network: Network, match: Rule, protocol: str, port: int, verdict: str
) -> Rule:
    # In the order of `iptables -S`, so that the parsed rule equals this one.
    target = ("-p", protocol, "-m", protocol, "--dport", str(port))
    return (*match, *target, *comment(Mark(inventory.name, network.name)), "-j", verdict)

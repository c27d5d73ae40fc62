"""The hosts of each network, and the subnet of each of them. Pure."""

from __future__ import annotations

from provision import methods
from provision.inventory.unused import ALL
from provision.model.documents import Decoded, Layout, NetworkDocument


def lay_out(decoded: Decoded) -> Layout:
    """Hosts and subnets of all networks that are valid by themselves."""
    hosts = {name: _hosts(network, decoded) for name, network in decoded.networks.items()}
    subnets = {
        name: methods.named(network.method).subnets(network, decoded.options[name], hosts[name])
        for name, network in decoded.networks.items()
    }
    return Layout(hosts, subnets)


def _hosts(network: NetworkDocument, decoded: Decoded) -> tuple[str, ...]:
    """The network's hosts in order, groups expanded, each once; unknown names left out."""
    if network.hosts is None or ALL in network.hosts:
        return decoded.declared["hosts"]
    known = frozenset(decoded.declared["hosts"])
    hosts: dict[str, None] = {}
    for name in network.hosts:
        members = [name] if name in known else decoded.groups.get(name, [])
        hosts |= dict.fromkeys(member for member in members if member in known)
    return tuple(hosts)

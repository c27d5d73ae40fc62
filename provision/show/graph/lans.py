"""The LANs that hosts share: NICs, and whose addresses lie behind them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink
from provision.facts.tunnel_probe import TUNNELS
from provision.show.graph.model import Id, Lan
from provision.show.view import BRIDGES, View

MACVLANS = ("macvlan", "macvtap", "ipvlan")
"""Kinds of interfaces of containers that are part of a NIC of the host."""
_INTERNAL = ("dummy", "ifb", "nlmon")
"""Kinds of interfaces that lead nowhere."""
# The kernel adds the first kind with a tunnel's module; Open vSwitch the others: the interfaces of
# its datapaths, and one for each type of tunnel that its kernel module receives.
_ARTEFACT = re.compile(
    r"(?:gre0|gretap0|erspan0|tunl0|sit0|ip6tnl0|ip6gre0|ip_vti0|ip6_vti0|ovs-netdev|ovs-system"
    r"|(?:gre|ip6gre|erspan|ip6erspan|genev|vxlan|lisp)_sys(?:_\d+)?)$"
)


def is_artefact(link: NamespaceLink) -> bool:
    """True for interfaces that modules of the kernel add, and that carry no packet by themselves.

    One that somebody gave an address is in use.
    """
    return bool(_ARTEFACT.match(link.name)) and not link.addresses


def is_nic(topology: HostTopology, link: NamespaceLink) -> bool:
    """True for an interface that leads out of the host."""
    if link.name == "lo" or link.kind in (*BRIDGES, *TUNNELS, *MACVLANS, *_INTERNAL):
        return False
    # The other end of a veth is in the host's namespace or a container's. The container may be
    # gone, or belong to a program that is not Docker: it plugs the veth into Docker's bridge.
    docker_port = link.name.startswith("veth") and link.master in topology.bridges.values()
    return not (pair_end(topology, link) or topology.container_end(link) or docker_port)


def pair_end(topology: HostTopology, link: NamespaceLink) -> NamespaceLink | None:
    """The other end of a veth pair of which both ends are in the host's namespace."""
    return topology.root.link(link.lower) if link.kind == "veth" and link.lower else None


def shared_lans(view: View) -> Iterator[Lan]:
    """Yield each IP network in which NICs of several hosts, and what is bridged to them, are."""
    ends: dict[IPv4Network, list[tuple[str, IPv4Address, Id]]] = {}
    for number, host in enumerate(view.hosts, 1):
        if topology := view.topologies.get(host):
            for node_id, interface in _ends(topology, f"h{number}"):
                end = (host, interface.ip, node_id)
                ends.setdefault(interface.network, []).append(end)
    shared = [network for network, of_network in ends.items() if _is_shared(of_network)]
    for number, network in enumerate(shared, 1):
        yield Lan(f"lan{number}", network, tuple(dict.fromkeys(nic for _, _, nic in ends[network])))


def _ends(topology: HostTopology, prefix: str) -> Iterator[tuple[Id, IPv4Interface]]:
    """Yield the nodes that are on a LAN, with the addresses that a host has behind each."""
    for link in topology.root.links:
        if is_nic(topology, link):
            for interface in _segment(topology, link):
                yield link_id(prefix, link), interface
    for container in topology.namespace_owners():
        for link in topology.namespaces[container.net].links:
            if is_container_nic(topology, link):
                for interface in link.addresses:
                    yield container_id(prefix, topology, container), interface


def _segment(topology: HostTopology, nic: NamespaceLink) -> Iterator[IPv4Interface]:
    """Yield the host's addresses on a NIC, on its bridge, and on veths that lead to the bridge."""
    yield from nic.addresses
    master = topology.root.link(nic.master)
    if master:
        yield from master.addresses
        for port in topology.ports(master.name):
            other = pair_end(topology, port)
            # The other end as a port of another bridge would be that bridge's link to the LAN.
            yield from other.addresses if other and not other.master else ()


def is_container_nic(topology: HostTopology, link: NamespaceLink) -> bool:
    """True for a NIC of the host that was moved into a container."""
    virtual = (*BRIDGES, *TUNNELS, *MACVLANS, *_INTERNAL)
    return link.name != "lo" and link.kind not in virtual and not topology.host_end(link)


# Ids consist of letters, digits and _, which DOT and Mermaid accept without quotes. The kernel
# allows almost any character in the name of an interface.


def link_id(prefix: str, link: NamespaceLink) -> Id:
    """The id of the node of an interface; `prefix` is the host's."""
    return f"{prefix}_{link.index}"


def container_id(prefix: str, topology: HostTopology, container: ContainerInfo) -> Id:
    """The id of the node of a container; `prefix` is the host's."""
    return f"{prefix}_c{list(topology.containers).index(container.name)}"


def _is_shared(ends: list[tuple[str, IPv4Address, Id]]) -> bool:
    # Vagrant with VirtualBox gives the NAT NIC of every host the same address (10.0.2.15): the
    # hosts do not reach each other over it.
    return len({host for host, _, _ in ends}) > 1 and len({ip for _, ip, _ in ends}) > 1

"""The graph of a view. Pure.

Interfaces are drawn by their kind (see TUNNELS and `view.BRIDGES`), not by the method that made
them: a new method needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink
from provision.model.errors import HostError
from provision.model.terminal import printable
from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph, Lan
from provision.show.graph.verdict import UNCHECKED, Verdict
from provision.show.tables import addresses
from provision.show.view import BRIDGES, View, docker_network, namespace_owner

TUNNELS = (
    "vxlan", "geneve", "gre", "gretap", "erspan", "ipip", "sit", "vti", "tun", "wireguard",
    "ip6tnl", "ip6gre", "ip6gretap",
)  # fmt: skip
"""Kinds of interfaces that send packets to other hosts inside packets of another interface."""


def drawing(view: View, verdict: Verdict | None = None) -> Drawing:
    """The graph of all hosts of a view, with the verdicts of `verify` if there are any."""
    errors = {error.host: error for error in view.errors}
    hosts = []
    for number, host in enumerate(view.hosts, 1):
        builder = _HostGraphBuilder(view, host, f"h{number}", verdict or UNCHECKED)
        topology = view.topologies.get(host)
        hosts.append(builder.graph(topology) if topology else builder.empty(errors[host]))
    lans = tuple(_lans(view))
    return Drawing(printable(view.inventory.name), tuple(hosts), lans, verdict is not None)


def _is_nic(topology: HostTopology, link: NamespaceLink) -> bool:
    """True for an interface that leads out of the host."""
    virtual = (*BRIDGES, *TUNNELS)
    return link.name != "lo" and link.kind not in virtual and not topology.container_end(link)


def _lans(view: View) -> Iterator[Lan]:
    ends: dict[IPv4Network, list[tuple[str, IPv4Address, str]]] = {}
    for number, host in enumerate(view.hosts, 1):
        for link, interfaces in _nics(view.topologies.get(host)):
            for interface in interfaces:
                end = (host, interface.ip, f"h{number}_{link.index}")
                ends.setdefault(interface.network, []).append(end)
    # A bridge that a NIC is a port of has the host's address in place of the NIC: the LAN is
    # drawn to the NIC all the same.
    shared = [network for network, of_network in ends.items() if _is_shared(of_network)]
    for number, network in enumerate(shared, 1):
        yield Lan(f"lan{number}", network, tuple(dict.fromkeys(nic for _, _, nic in ends[network])))


def _nics(
    topology: HostTopology | None,
) -> Iterator[tuple[NamespaceLink, tuple[IPv4Interface, ...]]]:
    """Each NIC with its addresses, and those of the bridge that it is a port of."""
    for link in topology.root.links if topology else ():
        if topology and _is_nic(topology, link):
            master = topology.root.link(link.master)
            yield link, (*link.addresses, *(master.addresses if master else ()))


def _is_shared(ends: list[tuple[str, IPv4Address, str]]) -> bool:
    # Vagrant with VirtualBox gives the NAT NIC of every host the same address (10.0.2.15): the
    # hosts do not reach each other over it.
    return len({host for host, _, _ in ends}) > 1 and len({ip for _, ip, _ in ends}) > 1


class _HostGraphBuilder:
    """Builds the graph of one host.

    The id of a node is `prefix` and the interface's index, or the container's position.
    """

    def __init__(self, view: View, host: str, prefix: str, verdict: Verdict) -> None:
        self.view, self.host, self.prefix, self.verdict = view, host, prefix, verdict
        self.address = str(view.inventory.hosts[host].address)

    def empty(self, error: HostError) -> HostGraph:
        """The graph of a host that did not answer."""
        problem = printable(" ".join(error.message.split()))
        verdict = self.verdict.host(self.host)
        return HostGraph(self.host, self.address, problem=problem, verdict=verdict)

    def graph(self, topology: HostTopology) -> HostGraph:
        links = [link for link in topology.root.links if _is_node(topology, link)]
        nodes = (
            *(self._link_node(topology, link) for link in links),
            *self._container_nodes(topology),
        )
        ids = {node.id for node in nodes}
        edges = (*self._ports(topology), *self._veths(topology), *self._shares(topology))
        return HostGraph(
            self.host,
            self.address,
            nodes,
            tuple(edge for edge in edges if {edge.source, edge.target} <= ids),
            printable(topology.docker_error),
            self.verdict.host(self.host),
        )

    def _link_node(self, topology: HostTopology, link: NamespaceLink) -> GraphNode:
        kind = "bridge" if link.kind in BRIDGES else "tunnel" if link.kind in TUNNELS else "nic"
        kind = "link" if topology.container_end(link) else kind
        network = docker_network(topology, link) if kind == "bridge" else ""
        suffix = f" ({network})" if network else f" ({link.kind})" if kind == "tunnel" else ""
        name = f"{link.name}{suffix}{'' if link.up else ' DOWN'}"
        lines = (name, *(str(address) for address in link.addresses))
        verdict = self.verdict.network(self.host, network) if network else ""
        return GraphNode(self._link_id(link), kind, tuple(map(printable, lines)), verdict)

    def _container_nodes(self, topology: HostTopology) -> Iterator[GraphNode]:
        """Each container, followed by those that share its network namespace."""
        containers = topology.containers.values()
        for container in sorted(containers, key=lambda container: _order(topology, container)):
            lines = tuple(map(printable, _container_lines(topology, container)))
            node_id = self._container_id(topology, container)
            yield GraphNode(node_id, "container", lines, self._container_verdict(container))

    def _ports(self, topology: HostTopology) -> Iterator[Edge]:
        for link in topology.root.links:
            master = topology.root.link(link.master)
            if master and _is_node(topology, link):
                yield Edge(self._link_id(link), self._link_id(master), "port")

    def _veths(self, topology: HostTopology) -> Iterator[Edge]:
        for container in topology.containers.values():
            if namespace_owner(topology, container) != container or not container.net:
                continue
            for number, link in enumerate(_inner_links(topology, container), 1):
                if outer := topology.host_end(link):
                    # The host's end is a node only if it is not a port of a bridge.
                    source = topology.root.link(outer.master) or outer
                    ends = self._link_id(source), self._container_id(topology, container)
                    label = printable(outer.name if outer != source else "")
                    verdict = self._container_verdict(container)
                    yield Edge(*ends, "veth", label, number, verdict)

    def _shares(self, topology: HostTopology) -> Iterator[Edge]:
        for container in topology.containers.values():
            owner = namespace_owner(topology, container)
            if owner is not None and owner != container:
                source, target = (self._container_id(topology, c) for c in (owner, container))
                yield Edge(source, target, "shares")

    def _container_verdict(self, container: ContainerInfo) -> str:
        ours = container.mark.inventory == self.view.inventory.name
        return self.verdict.container(self.host, container.name) if ours else ""

    # Ids consist of letters, digits and _, which DOT and Mermaid accept without quotes. The
    # kernel allows almost any character in the name of an interface.

    def _link_id(self, link: NamespaceLink) -> str:
        return f"{self.prefix}_{link.index}"

    def _container_id(self, topology: HostTopology, container: ContainerInfo) -> str:
        return f"{self.prefix}_c{list(topology.containers).index(container.name)}"


def _is_node(topology: HostTopology, link: NamespaceLink) -> bool:
    """True if an interface is a node. A veth end that is a port of a bridge is an edge's label."""
    return link.name != "lo" and not (topology.container_end(link) and link.master)


def _inner_links(topology: HostTopology, container: ContainerInfo) -> tuple[NamespaceLink, ...]:
    return tuple(link for link in topology.namespaces[container.net].links if link.name != "lo")


def _order(topology: HostTopology, container: ContainerInfo) -> tuple[int, str, bool, str]:
    """Sort key of containers: in the order of their bridges, so that fewer edges cross.

    Containers without a bridge come last.
    """
    owner = namespace_owner(topology, container) or container
    links = topology.namespaces[owner.net].links if owner.net else ()
    outers = map(topology.host_end, links)
    masters = [topology.root.link(outer.master) for outer in outers if outer]
    position = min((link.index for link in masters if link), default=2**32)
    return position, owner.name, container != owner, container.name


def _container_lines(topology: HostTopology, container: ContainerInfo) -> Iterator[str]:
    state = "" if container.status == "running" else f" {container.status}"
    yield f"{container.name} ({container.mode}){state}"
    owner = namespace_owner(topology, container)
    if owner == container:
        for link in _inner_links(topology, container):
            yield f"{link.name} {addresses(link)}".strip()
    elif owner is not None:
        yield f"in the namespace of {owner.name}"
    elif container.net:
        yield "in the host's namespace"
    for published, target in container.published:
        yield f"{published} → {target}"

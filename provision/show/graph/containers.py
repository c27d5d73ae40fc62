"""The nodes and edges of a host's containers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink
from provision.model.terminal import printable
from provision.show.graph.lans import MACVLANS, container_id, link_id
from provision.show.graph.model import Edge, GraphNode, Id
from provision.show.graph.verdict import FAILED, OK, Verdict
from provision.show.members import UNDECLARED, OtherMember
from provision.show.tables import addresses
from provision.show.view import namespace_owner


@dataclass(frozen=True, slots=True)
class ContainerGraph:
    """The containers of one host; `inventory` is the name of ours, `prefix` begins their ids.

    `members` are the containers of others on the networks, by their names; `further` the names of
    ours in their further networks.
    """

    prefix: str
    topology: HostTopology
    inventory: str
    verdict: Verdict
    members: Mapping[str, Sequence[OtherMember]]
    further: Mapping[str, Sequence[str]]

    def nodes(self) -> Iterator[GraphNode]:
        """Yield each container, followed by those that share its network namespace."""
        topology = self.topology
        for container in sorted(topology.containers.values(), key=lambda c: _order(topology, c)):
            links = _inner_links(topology, container) if container.net else ()
            yield GraphNode(
                self._id(container),
                "container",
                tuple(map(printable, (*_lines(topology, container), *self._member(container)))),
                self._verdict(container),
                up=container.status == "running",
                properties={
                    "name": container.name,
                    "addresses": [str(held) for link in links for held in link.addresses],
                },
            )

    def veths(self) -> Iterator[Edge]:
        """Yield the edges from bridges and NICs to the interfaces of containers."""
        topology = self.topology
        for container in topology.containers.values():
            if namespace_owner(topology, container) != container or not container.net:
                continue
            for number, link in enumerate(_inner_links(topology, container), 1):
                target, verdict = self._id(container), self._verdict(container)
                if outer := topology.host_end(link):
                    # The host's end is a node only if it is not a port of a bridge.
                    source = topology.root.link(outer.master) or outer
                    label = _port_label(topology, outer) if outer != source else ""
                    up = outer.up and link.up and outer.carrier
                    ends = link_id(self.prefix, source), target
                    yield Edge(*ends, "veth", label, number, verdict, up)
                elif nic := _macvlan_nic(topology, link):
                    up = link.up and nic.up
                    yield Edge(
                        link_id(self.prefix, nic), target, "macvlan", link.kind, number, verdict, up
                    )

    def shares(self) -> Iterator[Edge]:
        """Yield an edge from a namespace's owner to each container that shares it."""
        topology = self.topology
        for container in topology.containers.values():
            owner = namespace_owner(topology, container)
            if owner is not None and owner != container:
                yield Edge(self._id(owner), self._id(container), "shares")

    def _id(self, container: ContainerInfo) -> Id:
        return container_id(self.prefix, self.topology, container)

    def _verdict(self, container: ContainerInfo) -> str:
        names = [member.guest or member.container for member in self._members(container)]
        if container.mark.inventory == self.inventory:
            names = [container.name, *self.further.get(container.name, ())]
        verdicts = {self.verdict.container(self.topology.host, name) for name in names}
        return FAILED if FAILED in verdicts else OK if OK in verdicts else ""

    def _members(self, container: ContainerInfo) -> Sequence[OtherMember]:
        return self.members.get(container.name, ())

    def _member(self, container: ContainerInfo) -> Iterator[str]:
        """Yield a line for each network of ours that a container of others is on."""
        for member in self._members(container):
            subject = f"guest {member.guest}" if member.guest else UNDECLARED
            yield f"{subject}, {'on' if member.address else 'not on'} {member.network}"


def _port_label(topology: HostTopology, port: NamespaceLink) -> str:
    vlan = topology.vlans.get(port.name)
    return printable(f"{port.name} VLAN {vlan}" if vlan else port.name)


def _macvlan_nic(topology: HostTopology, link: NamespaceLink) -> NamespaceLink | None:
    """The NIC of the host that a container's macvlan interface is on."""
    # Outside the host's namespace `ip` prints the NIC's ifindex there.
    nics = (nic for nic in topology.root.links if nic.index == link.peer)
    return next(nics, None) if link.kind in MACVLANS else None


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


def _lines(topology: HostTopology, container: ContainerInfo) -> Iterator[str]:
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

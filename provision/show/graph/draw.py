"""A view of hosts → a drawing. Pure.

What a method adds to a host is drawn by its link's kind: see TUNNELS and `view.BRIDGES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from provision.facts.topology import ContainerInfo, HostTopology, NamespaceLink
from provision.model.errors import HostError
from provision.model.terminal import printable
from provision.show.graph.model import Drawing, Edge, GraphNode, HostBox, Lan
from provision.show.graph.verdict import UNCHECKED, Verdict
from provision.show.tables import held
from provision.show.view import BRIDGES, View, docker_network, leader

TUNNELS = (
    "vxlan", "geneve", "gre", "gretap", "erspan", "ipip", "sit", "vti", "tun", "wireguard",
    "ip6tnl", "ip6gre", "ip6gretap",
)  # fmt: skip
"""Kinds of links that lead to other hosts inside packets of another link."""


def drawing(view: View, verdict: Verdict | None = None) -> Drawing:
    """All hosts of a view, coloured by a verdict."""
    judge = verdict or UNCHECKED
    errors = {error.host: error for error in view.errors}
    machines = []
    for number, host in enumerate(view.hosts, 1):
        pen = _Pen(view, host, f"h{number}", judge)
        found = view.found.get(host)
        machines.append(pen.machine(found) if found else pen.blank(errors[host]))
    lans = tuple(_lans(view))
    return Drawing(printable(view.inventory.name), tuple(machines), lans, verdict is not None)


def _nic(found: HostTopology, link: NamespaceLink) -> bool:
    """A link that leads out of the host: no loopback, bridge or tunnel, no end of a pair in it."""
    inside = (*BRIDGES, *TUNNELS)
    return link.name != "lo" and link.kind not in inside and not found.container_end(link)


def _lans(view: View) -> Iterator[Lan]:
    """A bridge that holds a NIC holds its address too: the NIC stands for both."""
    ends: dict[IPv4Network, list[tuple[str, IPv4Address, str]]] = {}
    for number, host in enumerate(view.hosts, 1):
        for link, addresses in _nics(view.found.get(host)):
            for own in addresses:
                end = (host, own.ip, f"h{number}_{link.index}")
                ends.setdefault(own.network, []).append(end)
    common = [network for network, on in ends.items() if _is_common(on)]
    for number, network in enumerate(common, 1):
        yield Lan(f"lan{number}", network, tuple(dict.fromkeys(nic for _, _, nic in ends[network])))


def _nics(found: HostTopology | None) -> Iterator[tuple[NamespaceLink, tuple[IPv4Interface, ...]]]:
    for link in found.root.links if found else ():
        if found and _nic(found, link):
            master = found.root.link(link.master)
            yield link, (*link.addresses, *(master.addresses if master else ()))


def _is_common(ends: list[tuple[str, IPv4Address, str]]) -> bool:
    """The NAT NIC of Vagrant has the same address everywhere: that is no common link."""
    return len({host for host, _, _ in ends}) > 1 and len({ip for _, ip, _ in ends}) > 1


class _Pen:
    """Draws one host; a box's id is the host's place and the link's index or container's place."""

    def __init__(self, view: View, host: str, place: str, judge: Verdict) -> None:
        self.view, self.host, self.place, self.judge = view, host, place, judge
        self.address = str(view.inventory.hosts[host].address)

    def blank(self, error: HostError) -> HostBox:
        trouble = printable(" ".join(error.message.split()))
        return HostBox(self.host, self.address, trouble=trouble, verdict=self.judge.host(self.host))

    def machine(self, found: HostTopology) -> HostBox:
        links = [link for link in found.root.links if self._drawn(found, link)]
        nodes = (*(self._link(found, link) for link in links), *self._containers(found))
        drawn = {node.id for node in nodes}
        edges = (*self._ports(found), *self._pairs(found), *self._shares(found))
        return HostBox(
            self.host,
            self.address,
            nodes,
            tuple(edge for edge in edges if {edge.source, edge.target} <= drawn),
            printable(found.docker_error),
            self.judge.host(self.host),
        )

    def _drawn(self, found: HostTopology, link: NamespaceLink) -> bool:
        """The outer end of a pair is a line of its bridge's, and a box only without one."""
        return link.name != "lo" and not (found.container_end(link) and link.master)

    def _link(self, found: HostTopology, link: NamespaceLink) -> GraphNode:
        kind = "bridge" if link.kind in BRIDGES else "tunnel" if link.kind in TUNNELS else "nic"
        kind = "link" if found.container_end(link) else kind
        network = docker_network(found, link) if kind == "bridge" else ""
        word = f" ({network})" if network else f" ({link.kind})" if kind == "tunnel" else ""
        name = f"{link.name}{word}{'' if link.up else ' DOWN'}"
        lines = (name, *(str(own) for own in link.addresses))
        judged = self.judge.network(self.host, network) if network else ""
        return GraphNode(self._id(link), kind, tuple(map(printable, lines)), judged)

    def _containers(self, found: HostTopology) -> Iterator[GraphNode]:
        """Each container, and after it those that share its namespace."""
        for lodger in sorted(found.containers.values(), key=lambda one: self._order(found, one)):
            lines = map(printable, self._words(found, lodger))
            yield GraphNode(
                self._of(found, lodger), "container", tuple(lines), self._judged(lodger)
            )

    def _order(self, found: HostTopology, lodger: ContainerInfo) -> tuple[int, str, bool, str]:
        """In the order of the bridges, so that their lines cross less; who has none comes last."""
        first = leader(found, lodger) or lodger
        outers = map(found.host_end, found.namespaces[first.net].links) if first.net else ()
        masters = [found.root.link(outer.master) for outer in outers if outer]
        place = min((link.index for link in masters if link), default=2**32)
        return place, first.name, lodger != first, lodger.name

    def _words(self, found: HostTopology, lodger: ContainerInfo) -> Iterator[str]:
        state = "" if lodger.status == "running" else f" {lodger.status}"
        yield f"{lodger.name} ({lodger.mode}){state}"
        first = leader(found, lodger)
        if first == lodger:
            for link in _inside(found, lodger):
                yield f"{link.name} {held(link)}".strip()
        elif first is not None:
            yield f"in the namespace of {first.name}"
        elif lodger.net:
            yield "in the host's namespace"
        for place, inside in lodger.published:
            yield f"{place} → {inside}"

    def _ports(self, found: HostTopology) -> Iterator[Edge]:
        for link in found.root.links:
            master = found.root.link(link.master)
            if master and self._drawn(found, link):
                yield Edge(self._id(link), self._id(master), "port")

    def _pairs(self, found: HostTopology) -> Iterator[Edge]:
        for lodger in found.containers.values():
            if leader(found, lodger) != lodger or not lodger.net:
                continue
            for at, link in enumerate(_inside(found, lodger), 1):
                outer = found.host_end(link)
                source = (found.root.link(outer.master) or outer) if outer else None
                if outer and source:
                    ends = (self._id(source), self._of(found, lodger))
                    label = printable(outer.name if outer != source else "")
                    yield Edge(*ends, "veth", label, at, self._judged(lodger))

    def _shares(self, found: HostTopology) -> Iterator[Edge]:
        for lodger in found.containers.values():
            first = leader(found, lodger)
            if first is not None and first != lodger:
                yield Edge(self._of(found, first), self._of(found, lodger), "shares")

    def _judged(self, lodger: ContainerInfo) -> str:
        ours = lodger.mark.partition("/")[0] == self.view.inventory.name
        return self.judge.container(self.host, lodger.name) if ours else ""

    def _id(self, link: NamespaceLink) -> str:
        return f"{self.place}_{link.index}"

    def _of(self, found: HostTopology, lodger: ContainerInfo) -> str:
        return f"{self.place}_c{list(found.containers).index(lodger.name)}"


def _inside(found: HostTopology, lodger: ContainerInfo) -> tuple[NamespaceLink, ...]:
    return tuple(link for link in found.namespaces[lodger.net].links if link.name != "lo")

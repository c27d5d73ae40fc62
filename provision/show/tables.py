"""The tables of `provision show`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from provision import methods
from provision.facts.topology import DnatRule, HostTopology, NamespaceLink, NamespaceRoute
from provision.show.members import UNDECLARED, joined_networks, other_members
from provision.show.view import (
    View,
    bridge,
    bridges,
    docker_network,
    namespace_name,
    published_rule,
    unmatched_rules,
)

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under the names of their columns; every row names its host."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


def tables(view: View) -> Iterator[Table]:
    """Networks, bridges, containers, published ports, interfaces, routes, and methods' own tables.

    Empty tables are left out.
    """
    names = " names" if _have_names(view) else ""
    for title, columns, rows in (
        ("networks", f"network method cidr host subnet bridge{names}", _networks(view)),
        ("bridges", "host bridge network addresses port container interface", _all(view, _ports)),
        (
            "containers",
            "host container status mode namespace of addresses routes",
            _all(view, _containers),
        ),
        ("several networks", "host container network address default", _joined(view)),
        ("guests", "host container guest network address", _guests(view)),
        ("published ports", "host published container to rule packets bytes", _all(view, _nat)),
        ("interfaces", "host interface kind addresses mac mtu state master", _all(view, _links)),
        ("routes", "host to via dev", _all(view, _routes)),
    ):
        if filled := tuple(rows):
            yield Table(title, tuple(columns.split()), filled)
    for method, statuses in view.statuses.items():
        yield from (Table(*parts) for parts in methods.named(method).show_tables(statuses))


def warnings(view: View) -> Iterator[str]:
    """A line for each host that is shown without its containers."""
    for host, topology in view.topologies.items():
        if topology.docker_error:
            yield f"{host}: {topology.docker_error}: its containers are not shown"


def _all(view: View, rows: Callable[[HostTopology], Iterable[Row]]) -> Iterator[Row]:
    for host, topology in view.topologies.items():
        yield from ((host, *row) for row in rows(topology))


def _have_names(view: View) -> bool:
    return any(network.names is not None for network in view.inventory.networks.values())


def _networks(view: View) -> Iterator[Row]:
    have_names = _have_names(view)
    for network in view.inventory.networks.values():
        for host, subnet in network.subnets.items():
            if host in view.hosts:
                row: Row = (network.name, network.method, str(network.cidr), host, str(subnet))
                topology = view.topologies.get(host)
                link = bridge(topology, network) if topology else None
                none = "missing" if methods.of(network).uses_bridge else ""
                row = (*row, link.name if link else none if topology else "unknown")
                names = "" if network.names is None else network.names or "yes"
                yield (*row, names) if have_names else row


def _ports(topology: HostTopology) -> Iterator[Row]:
    for link in bridges(topology):
        cells = (link.name, docker_network(topology, link), addresses(link))
        ports = topology.ports(link.name)
        for port in ports:
            end = topology.container_end(port)
            names = (end[0].name, end[1].name) if end else ("", "")
            yield (*cells, port.name, *names)
        if not ports:
            yield (*cells, "", "", "")


def _containers(topology: HostTopology) -> Iterator[Row]:
    for container in topology.containers.values():
        netns = topology.namespaces.get(container.net)
        owner = namespace_name(topology, container)
        held, routes = "", ""
        # Containers in one namespace share addresses and routes: show them once, at the owner.
        if netns and owner == "own":
            links = (link for link in netns.links if link.name != "lo")
            held = ", ".join(f"{link.name} {addresses(link)}".strip() for link in links)
            routes = "; ".join(map(route_text, netns.routes))
        inode = str(container.net or "")
        yield (container.name, container.status, container.mode, inode, owner, held, routes)


def _joined(view: View) -> Iterator[Row]:
    """The networks of each container that is on several; one of them has the default route."""
    for host, topology in view.topologies.items():
        for joined in joined_networks(view.inventory, topology):
            is_default = "default route" if joined.has_default_route else ""
            yield (host, joined.container, joined.network, joined.address or "missing", is_default)


def _guests(view: View) -> Iterator[Row]:
    """Containers of others on the networks of the inventory."""
    for host, topology in view.topologies.items():
        for member in other_members(view.inventory, topology):
            guest, container = member.guest or UNDECLARED, member.container or "absent"
            yield (host, container, guest, member.network, member.address or "missing")


def _nat(topology: HostTopology) -> Iterator[Row]:
    for container in topology.containers.values():
        for published, target in container.published:
            rule = published_rule(topology, container, published, target)
            yield (published, container.name, target, *_rule_cells(rule))
    for rule in unmatched_rules(topology):
        yield (f"{rule.ip or '0.0.0.0'}:{rule.port}", "", rule.protocol, *_rule_cells(rule))


def _rule_cells(rule: DnatRule | None) -> Row:
    if rule is None:
        return ("missing", "", "")
    return (f"DNAT to {rule.to}:{rule.target}", str(rule.packets), str(rule.bytes))


def _links(topology: HostTopology) -> Iterator[Row]:
    for link in topology.root.links:
        state = "up" if link.up else "down"
        yield (link.name, link.kind, addresses(link), link.mac, str(link.mtu), state, link.master)


def _routes(topology: HostTopology) -> Iterator[Row]:
    for route in topology.root.routes:
        yield (route.dst, route.via, route.dev)


def addresses(link: NamespaceLink) -> str:
    """An interface's addresses, joined by commas."""
    return ", ".join(map(str, link.addresses))


def route_text(route: NamespaceRoute) -> str:
    """A route as `ip route` prints it, without protocol, scope and source."""
    via = f" via {route.via}" if route.via else ""
    return f"{route.dst}{via} dev {route.dev}" if route.dev else f"{route.dst}{via}"

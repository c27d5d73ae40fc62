"""A view → tables of words, one for each command that people would type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from provision.facts.topology import DnatRule, HostTopology, NamespaceLink, NamespaceRoute
from provision.methods.flannel import view as overlay
from provision.show.view import View, bridge, bridges, docker_network, rule, stray, whose

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words under the names of their columns; every row names its host."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


def tables(view: View) -> Iterator[Table]:
    """Networks, bridges, containers, published ports, interfaces, routes; none that is empty.

    And of flannel networks what etcdctl would print.
    """
    for title, columns, rows in (
        ("networks", "network method cidr host subnet bridge", _networks(view)),
        ("bridges", "host bridge network addresses port container interface", _all(view, _ports)),
        (
            "containers",
            "host container status mode namespace of addresses routes",
            _all(view, _containers),
        ),
        ("published ports", "host published container to rule packets bytes", _all(view, _nat)),
        ("interfaces", "host interface kind addresses mac mtu state master", _all(view, _links)),
        ("routes", "host to via dev", _all(view, _routes)),
    ):
        found = tuple(rows)
        if found:
            yield Table(title, tuple(columns.split()), found)
    yield from (Table(*words) for words in overlay.tables(view.overlays))


def remarks(view: View) -> Iterator[str]:
    """What keeps a host that answered from being shown as a whole."""
    for host, found in view.found.items():
        if found.docker_error:
            yield f"{host}: {found.docker_error}: its containers are not known"


def _all(view: View, rows: Callable[[HostTopology], Iterable[Row]]) -> Iterator[Row]:
    for host, found in view.found.items():
        yield from ((host, *row) for row in rows(found))


def _networks(view: View) -> Iterator[Row]:
    for network in view.inventory.networks.values():
        for host, subnet in network.subnets.items():
            if host in view.hosts:
                found = view.found.get(host)
                on = bridge(found, network) if found else None
                words = (network.name, network.method, str(network.cidr), host, str(subnet))
                yield (*words, on.name if on else "missing" if found else "unknown")


def _ports(found: HostTopology) -> Iterator[Row]:
    for link in bridges(found):
        whole = (link.name, docker_network(found, link), held(link))
        ports = found.ports(link.name)
        for port in ports:
            inner = found.container_end(port)
            ends = (inner[0].name, inner[1].name) if inner else ("", "")
            yield (*whole, port.name, *ends)
        if not ports:
            yield (*whole, "", "", "")


def _containers(found: HostTopology) -> Iterator[Row]:
    for lodger in found.containers.values():
        space = found.namespaces.get(lodger.net)
        links = (link for link in space.links if link.name != "lo") if space else ()
        own = whose(found, lodger)
        # Whoever lives in another's namespace has what the other has: it is shown once.
        addresses = ", ".join(_with_addresses(link) for link in links) if own == "own" else ""
        routes = "; ".join(map(way, space.routes)) if space and own == "own" else ""
        inode = str(lodger.net or "")
        yield (lodger.name, lodger.status, lodger.mode, inode, own, addresses, routes)


def _with_addresses(link: NamespaceLink) -> str:
    return f"{link.name} {held(link)}".strip()


def _nat(found: HostTopology) -> Iterator[Row]:
    for lodger in found.containers.values():
        for place, inside in lodger.published:
            yield (place, lodger.name, inside, *_counted(rule(found, lodger, place, inside)))
    for one in stray(found):
        yield (f"{one.ip or '0.0.0.0'}:{one.port}", "", one.protocol, *_counted(one))


def _counted(one: DnatRule | None) -> Row:
    if one is None:
        return ("missing", "", "")
    return (f"DNAT to {one.to}:{one.target}", str(one.packets), str(one.bytes))


def _links(found: HostTopology) -> Iterator[Row]:
    for link in found.root.links:
        state = "up" if link.up else "down"
        yield (link.name, link.kind, held(link), link.mac, str(link.mtu), state, link.master)


def _routes(found: HostTopology) -> Iterator[Row]:
    for route in found.root.routes:
        yield (route.dst, route.via, route.dev)


def held(link: NamespaceLink) -> str:
    """An interface's addresses."""
    return ", ".join(map(str, link.addresses))


def way(route: NamespaceRoute) -> str:
    """A route as iproute2 writes it, in short."""
    via = f" via {route.via}" if route.via else ""
    return f"{route.dst}{via} dev {route.dev}" if route.dev else f"{route.dst}{via}"

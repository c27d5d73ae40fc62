"""The graph of a view. Pure.

Interfaces are drawn by their kind (see TUNNELS and `view.BRIDGES`), not by the method that made
them: a new method needs no change here.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.model.errors import HostError
from provision.model.terminal import printable
from provision.show.graph import lans
from provision.show.graph.build import HostGraphBuilder
from provision.show.graph.model import Drawing, Edge, HostGraph
from provision.show.graph.peers import Peers
from provision.show.graph.verdict import UNCHECKED, Verdict
from provision.show.view import View


def drawing(view: View, verdict: Verdict | None = None) -> Drawing:
    """The graph of all hosts of a view, with the verdicts of `verify` if there are any."""
    errors = {error.host: error for error in view.errors}
    peers = Peers(view)
    builders = {
        host: HostGraphBuilder(peers, host, f"h{number}", verdict or UNCHECKED)
        for number, host in enumerate(view.hosts, 1)
    }
    hosts = [_graph(builder, errors.get(host)) for host, builder in builders.items()]
    shared, edges = tuple(lans.shared_lans(view)), tuple(_peer_edges(builders))
    return Drawing(printable(view.inventory.name), tuple(hosts), shared, verdict is not None, edges)


def _graph(builder: HostGraphBuilder, error: HostError | None) -> HostGraph:
    return builder.empty(error) if error else builder.graph()


def _peer_edges(builders: dict[str, HostGraphBuilder]) -> Iterator[Edge]:
    for host, builder in builders.items():
        if host in builder.view.topologies:
            yield from _route_edges(builder, builders)
            yield from _tunnel_edges(builder, builders)


def _route_edges(
    builder: HostGraphBuilder, builders: dict[str, HostGraphBuilder]
) -> Iterator[Edge]:
    """Yield an edge from each route to the bridges that its packets are for."""
    for number, peer_route in enumerate(builder.routes):
        for peer in peer_route.peers:
            target = builders.get(peer)
            link = target.bridge(peer_route.network) if target else None
            if target and link:
                up = builder.peers.delivers(builder.host, peer_route, peer)
                ends = builder.route_id(number), target.link_id(link)
                yield Edge(*ends, "peer", up=up)


def _tunnel_edges(
    builder: HostGraphBuilder, builders: dict[str, HostGraphBuilder]
) -> Iterator[Edge]:
    """Yield an edge from each tunnel to the other host's end of it."""
    for tunnel in builder.tunnels:
        for peer in dict.fromkeys(map(builder.peers.host, tunnel.remotes)):
            target = builders.get(peer)
            for end in target.tunnels if target and peer != builder.host else ():
                if target and builder.peers.fits(builder.host, tunnel, peer, end):
                    yield Edge(builder.tunnel_id(tunnel), target.tunnel_id(end), "peer")

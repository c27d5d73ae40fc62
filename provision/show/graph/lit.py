"""A drawing in which the path of one packet is lit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph
from provision.show.graph.verdict import FAILED, OK

Marks = Mapping[tuple[str, str], bool]
"""True if the packet was seen, by host and name of the interface or container on its path."""


def lit(drawing: Drawing, marks: Marks) -> Drawing:
    """The drawing with the verdict `ok` where the packet was seen, `failed` where it was not."""
    hosts = tuple(_host(host, marks) for host in drawing.hosts)
    return replace(drawing, hosts=hosts)


def _host(host: HostGraph, marks: Marks) -> HostGraph:
    nodes = tuple(_node(host.name, node, marks) for node in host.nodes)
    edges = tuple(_edge(host.name, edge, marks) for edge in host.edges)
    return replace(host, nodes=nodes, edges=edges, verdict="")


def _node(host: str, node: GraphNode, marks: Marks) -> GraphNode:
    return replace(node, verdict=_verdict(marks.get((host, str(node.properties.get("name", ""))))))


def _edge(host: str, edge: Edge, marks: Marks) -> Edge:
    # The label of a veth pair begins with its outer end, which is a port of a bridge.
    name = edge.label.split(" ")[0]
    return replace(edge, verdict=_verdict(marks.get((host, name)) if name else None))


def _verdict(seen_there: bool | None) -> str:
    return "" if seen_there is None else OK if seen_there else FAILED

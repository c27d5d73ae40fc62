"""Paths of packets in the JSON of `provision graph`, by the rules that docs/show.md states."""

from __future__ import annotations

from collections import defaultdict, deque
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

DIRECTED = ("route", "peer")
"""Kinds of edges that packets take from `from` to `to` only."""
IGNORED = ("over",)
"""Edges that only tell by which interface a route's or a tunnel's packets leave."""
BETWEEN_HOSTS = ("peer", "lan")


def path(graph: dict[str, Any], source: str, target: str) -> list[str]:
    """The names of the nodes from one container to another; empty if they are not connected.

    A path crosses to another host once: no host relays for others.
    """
    nodes = {node["id"]: node for node in graph["nodes"]}
    edges = _edges(graph, nodes)
    start, end = (_container(graph, name) for name in (source, target))
    addresses = [ip_interface(text).ip for text in nodes[end]["addresses"]]
    queue = deque([(start, False, [start])])
    visited = {(start, False)}
    while queue:
        node, crossed, passed = queue.popleft()
        if node == end:
            return [nodes[step]["name"] for step in passed]
        for kind, following in edges[node]:
            if kind == "peer" and crossed:
                continue
            route = nodes[following]["kind"] == "route"
            if route and not _is_for(nodes[following]["to"], addresses):
                continue
            state = (following, crossed or kind in BETWEEN_HOSTS)
            if state not in visited:
                visited.add(state)
                queue.append((*state, [*passed, following]))
    return []


def _edges(graph: dict[str, Any], nodes: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    edges: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in graph["edges"]:
        ends = edge["from"], edge["to"]
        if edge["up"] and edge["kind"] not in IGNORED and all(nodes[end]["up"] for end in ends):
            edges[ends[0]].append((edge["kind"], ends[1]))
            if edge["kind"] not in DIRECTED:
                edges[ends[1]].append((edge["kind"], ends[0]))
    return edges


def _is_for(to: str, addresses: list[Any]) -> bool:
    return any(ip_address(address) in ip_network(to) for address in addresses)


def _container(graph: dict[str, Any], name: str) -> str:
    (node,) = [n for n in graph["nodes"] if n["kind"] == "container" and n["name"] == name]
    return str(node["id"])

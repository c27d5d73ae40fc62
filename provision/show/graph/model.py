"""The graph of a drawing, independent of its format: nodes with lines of text, and edges. Pure.

All text is printable. Each format quotes it in its own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

Id = str


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node; `kind` is nic, bridge, tunnel, route, link or container. Its first line is its name.

    `verdict` is `ok`, `failed`, or empty if no check was about it. `up` is False if it carries no
    packet. `properties` are keys for the JSON, by kind.
    """

    id: Id
    kind: str
    lines: tuple[str, ...]
    verdict: str = ""
    up: bool = True
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between two nodes. It ends at one line of its target, `target_line`.

    `kind`: veth (a pair, labelled by its outer end), macvlan (a container's part of a NIC), port
    (of a bridge, or a VLAN of a NIC), shares (a namespace), route (from a bridge to a route of its
    packets), over (from a route or a tunnel to the interface by which it leaves), peer (to another
    host).
    """

    source: Id
    target: Id
    kind: str
    label: str = ""
    target_line: int = 0
    verdict: str = ""
    up: bool = True


@dataclass(frozen=True, slots=True)
class HostGraph:
    """The nodes and edges of a host; `problem` is why some or all of them are missing."""

    name: str
    address: str
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[Edge, ...] = ()
    problem: str = ""
    verdict: str = ""

    def of(self, *kinds: str) -> tuple[GraphNode, ...]:
        """The nodes of these kinds, in order."""
        return tuple(node for node in self.nodes if node.kind in kinds)


@dataclass(frozen=True, slots=True)
class Lan:
    """An IP network in which NICs of several hosts have addresses."""

    id: Id
    network: IPv4Network
    nics: tuple[Id, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole graph; `checked`: its nodes and edges carry the verdicts of `verify`.

    `peers` are the edges between hosts: from a route to the bridge of the peer, from a tunnel to
    the peer's end of it.
    """

    title: str
    hosts: tuple[HostGraph, ...]
    lans: tuple[Lan, ...]
    checked: bool = False
    peers: tuple[Edge, ...] = ()

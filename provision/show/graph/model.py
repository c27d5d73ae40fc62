"""What a drawing shows, whatever its format: boxes with lines of words, and lines between. Pure.

All words are fit for a terminal; each format quotes them in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

Id = str


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A box; `kind` is nic, bridge, tunnel, link or container. The first of `lines` names it."""

    id: Id
    kind: str
    lines: tuple[str, ...]
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a box to another, at one of that one's `lines`.

    `kind`: veth (a pair, named by its outer end), port (of a bridge) or shares (a namespace).
    """

    source: Id
    target: Id
    kind: str
    label: str = ""
    at: int = 0
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class HostBox:
    """A host; `trouble` says why nothing, or not all, of it is drawn."""

    name: str
    address: str
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[Edge, ...] = ()
    trouble: str = ""
    verdict: str = ""

    def of(self, *kinds: str) -> tuple[GraphNode, ...]:
        """Its boxes of some kinds, in order."""
        return tuple(node for node in self.nodes if node.kind in kinds)

    def edges_from(self, node: GraphNode, kind: str) -> tuple[Edge, ...]:
        """Its lines of a kind that begin at a box."""
        return tuple(edge for edge in self.edges if (edge.source, edge.kind) == (node.id, kind))


@dataclass(frozen=True, slots=True)
class Lan:
    """A range that NICs of several hosts hold."""

    id: Id
    network: IPv4Network
    nics: tuple[Id, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole; `judged` says that colours mean what verify found."""

    title: str
    machines: tuple[HostBox, ...]
    lans: tuple[Lan, ...]
    judged: bool = False

"""The formats of a drawing: SVG, DOT, Mermaid, text and JSON. Pure.

Each quotes text in its own way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from provision.resources.render import render
from provision.show.graph.layout import picture
from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph


def svg(drawing: Drawing) -> str:
    """SVG, for browsers and documents."""
    return render("graph/graph.svg.j2", title=drawing.title, picture=picture(drawing))


def dot(drawing: Drawing) -> str:
    """The DOT language of Graphviz."""
    return render("graph/graph.dot.j2", drawing=drawing, quote=dot_string)


def mermaid(drawing: Drawing) -> str:
    """Mermaid, which GitHub and GitLab draw in Markdown."""
    return render("graph/graph.mmd.j2", drawing=drawing, quote=mermaid_string)


def dot_string(*lines: str) -> str:
    r"""A quoted string of DOT, in which `\n` ends a line."""
    quoted = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(quoted) + '"'


_SAFE = frozenset(" ._:/()→,-")


def mermaid_string(*lines: str) -> str:
    """A quoted string of Mermaid.

    Mermaid has no escape character, and reads Markdown and HTML inside quotes. Characters that
    may have a meaning there become entities such as `#34;`.
    """
    return '"' + "<br/>".join("".join(map(_entity, line)) for line in lines) + '"'


def _entity(char: str) -> str:
    return char if char.isalnum() or char in _SAFE else f"#{ord(char)};"


def text(drawing: Drawing) -> str:
    """A tree for each host: NICs, bridges with ports, routes and containers; then the LANs."""
    lines = [line for host in drawing.hosts for line in _Tree(host).lines()]
    return "".join(f"{line}\n" for line in (*lines, *_lan_lines(drawing)))


def _lan_lines(drawing: Drawing) -> Iterator[str]:
    nodes = {node.id: (host, node) for host in drawing.hosts for node in host.nodes}
    for lan in drawing.lans:
        ends = (nodes[end] for end in lan.nics)
        yield f"LAN {lan.network}: " + ", ".join(f"{host.name} {n.lines[0]}" for host, n in ends)


class _Tree:
    """The tree of one host. Bridges that lead to each other in a circle are drawn once."""

    def __init__(self, host: HostGraph) -> None:
        self.host = host
        self.nodes = {node.id: node for node in host.nodes}
        self.drawn: set[str] = set()

    def lines(self) -> Iterator[str]:
        problem = f": {self.host.problem}" if self.host.problem else ""
        yield f"{self.host.name} {self.host.address}{problem}{_verdict(self.host.verdict)}"
        inner = {child for node in self.host.nodes for _, child in self._children(node)}
        roots = [node for node in self.host.nodes if node.id not in inner]
        reached = self._reached(roots)
        # The rest is in a circle: begin it anywhere.
        roots += [node for node in self.host.nodes if node.id not in reached][:1]
        for number, node in enumerate(roots, 1):
            yield from self._branch(node, "", "", last=number == len(roots))

    def _reached(self, roots: Iterable[GraphNode]) -> set[str]:
        """The ids of all nodes below some nodes, and theirs."""
        stack, reached = list(roots), set[str]()
        while stack:
            node = stack.pop()
            if node.id not in reached:
                reached.add(node.id)
                stack.extend(self.nodes[child] for _, child in self._children(node))
        return reached

    def _branch(self, node: GraphNode, label: str, indent: str, *, last: bool) -> Iterator[str]:
        yield f"{indent}{'└─' if last else '├─'} {label}{_node_text(node)}"
        if node.kind != "container" and node.id in self.drawn:
            return
        self.drawn.add(node.id)
        child_indent = indent + ("   " if last else "│  ")
        children = list(self._children(node))
        for number, (child_label, child) in enumerate(children, 1):
            final = number == len(children)
            yield from self._branch(self.nodes[child], child_label, child_indent, last=final)

    def _children(self, node: GraphNode) -> Iterator[tuple[str, str]]:
        """Label and id of a bridge's ports and routes, of other ends of veths, of sharers."""
        for edge in self.host.edges:
            if edge.kind == "port" and edge.target == node.id:
                yield "", edge.source
            elif edge.kind in ("veth", "macvlan") and edge.source == node.id:
                yield self._pair_label(node, edge), edge.target
            elif edge.kind in ("route", "shares") and edge.source == node.id:
                yield "", edge.target

    def _pair_label(self, node: GraphNode, edge: Edge) -> str:
        state = "" if edge.up else "DOWN "
        target = self.nodes[edge.target]
        if target.kind != "container":
            return f"{state}{edge.label} of "
        inner = target.lines[edge.target_line].split(" ")[0]
        return f"{state}{edge.label or node.lines[0]} ═ {inner} of "


def _node_text(node: GraphNode) -> str:
    kind = f"{node.kind} " if node.kind != "container" else ""
    return f"{kind}{', '.join(node.lines)}{_verdict(node.verdict)}"


def _verdict(verdict: str) -> str:
    return f"  [{verdict}]" if verdict else ""


def as_json(drawing: Drawing) -> str:
    """The nodes and edges as JSON. Its keys are a contract with scripts."""
    graph = {
        "inventory": drawing.title,
        "hosts": [
            {"host": host.name, "address": host.address, "problem": host.problem or None,
             "verdict": host.verdict or None}
            for host in drawing.hosts
        ],
        "nodes": [*_nodes_json(drawing)],
        "edges": [*_edges_json(drawing)],
    }  # fmt: skip
    return json.dumps(graph, indent=2) + "\n"


def _nodes_json(drawing: Drawing) -> Iterator[dict[str, Any]]:
    for host in drawing.hosts:
        for node in host.nodes:
            yield {
                "id": node.id, "host": host.name, "kind": node.kind, "up": node.up,
                "verdict": node.verdict or None, "text": list(node.lines), **node.properties,
            }  # fmt: skip
    for lan in drawing.lans:
        network = str(lan.network)
        yield {
            "id": lan.id, "host": None, "kind": "lan", "up": True, "verdict": None,
            "text": [network], "name": network,
        }  # fmt: skip


def _edges_json(drawing: Drawing) -> Iterator[dict[str, Any]]:
    working = {node.id: node.up for host in drawing.hosts for node in host.nodes}
    lans = (Edge(nic, lan.id, "lan", up=working[nic]) for lan in drawing.lans for nic in lan.nics)
    for edge in (*(edge for host in drawing.hosts for edge in host.edges), *lans, *drawing.peers):
        yield {
            "from": edge.source, "to": edge.target, "kind": edge.kind, "up": edge.up,
            "label": edge.label or None, "verdict": edge.verdict or None,
        }  # fmt: skip


FORMATS = {"svg": svg, "dot": dot, "mermaid": mermaid, "text": text, "json": as_json}
SUFFIXES = {
    ".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".txt": "text", ".json": "json",
}  # fmt: skip

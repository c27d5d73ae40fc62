"""The formats of a drawing: SVG, DOT, Mermaid and text. Pure. Each quotes text in its own way."""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.render import render
from provision.show.graph.layout import picture
from provision.show.graph.model import Drawing, GraphNode, HostGraph


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
    """A tree for each host: NICs, bridges with their ports and containers, other containers."""
    return "".join(f"{line}\n" for host in drawing.hosts for line in _host_lines(host))


def _host_lines(host: HostGraph) -> Iterator[str]:
    problem = f": {host.problem}" if host.problem else ""
    yield f"{host.name} {host.address}{problem}{_verdict(host.verdict)}"
    children = {edge.target for edge in host.edges if edge.kind in ("veth", "shares")}
    ports = {edge.source for edge in host.edges if edge.kind == "port"}
    roots = [node for node in host.nodes if node.id not in children | ports]
    for number, node in enumerate(roots, 1):
        yield from _tree(host, node, "", "", last=number == len(roots))


def _tree(
    host: HostGraph, node: GraphNode, label: str, indent: str, *, last: bool
) -> Iterator[str]:
    yield f"{indent}{'└─' if last else '├─'} {label}{_node_text(node)}"
    child_indent = indent + ("   " if last else "│  ")
    children = list(_children(host, node))
    for number, (child_label, child) in enumerate(children, 1):
        yield from _tree(host, child, child_label, child_indent, last=number == len(children))


def _children(host: HostGraph, node: GraphNode) -> Iterator[tuple[str, GraphNode]]:
    """Label and node of a bridge's ports, of other ends of veths, of sharers of a namespace."""
    by_id = {node.id: node for node in host.nodes}
    for edge in host.edges:
        if edge.kind == "port" and edge.target == node.id:
            yield "", by_id[edge.source]
        elif edge.kind == "veth" and edge.source == node.id:
            inner = by_id[edge.target].lines[edge.target_line].split(" ")[0]
            yield f"{edge.label or node.lines[0]} ═ {inner} of ", by_id[edge.target]
        elif edge.kind == "shares" and edge.source == node.id:
            yield "", by_id[edge.target]


def _node_text(node: GraphNode) -> str:
    kind = f"{node.kind} " if node.kind != "container" else ""
    return f"{kind}{', '.join(node.lines)}{_verdict(node.verdict)}"


def _verdict(verdict: str) -> str:
    return f"  [{verdict}]" if verdict else ""


FORMATS = {"svg": svg, "dot": dot, "mermaid": mermaid, "text": text}
SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".txt": "text"}

"""A drawing → SVG, DOT, Mermaid or text. Pure; each quotes what came from hosts in its own way."""

from __future__ import annotations

from collections.abc import Iterator

from provision.resources.render import render
from provision.show.graph.layout import picture
from provision.show.graph.model import Drawing, GraphNode, HostBox


def svg(drawing: Drawing) -> str:
    """A picture for browsers and documents."""
    return render("graph/graph.svg.j2", title=drawing.title, picture=picture(drawing))


def dot(drawing: Drawing) -> str:
    """For Graphviz."""
    return render("graph/graph.dot.j2", drawing=drawing, word=dot_word)


def mermaid(drawing: Drawing) -> str:
    """For Markdown of many forges."""
    return render("graph/graph.mmd.j2", drawing=drawing, word=mermaid_word)


def dot_word(*lines: str) -> str:
    r"""A quoted string of DOT; `\n` between lines is its own."""
    quoted = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(quoted) + '"'


_SAFE = frozenset(" ._:/()→,-")


def mermaid_word(*lines: str) -> str:
    """A quoted text of Mermaid; all that its Markdown or HTML may mean is written as a number."""
    return '"' + "<br/>".join("".join(map(_entity, line)) for line in lines) + '"'


def _entity(char: str) -> str:
    return char if char.isalnum() or char in _SAFE else f"#{ord(char)};"


def text(drawing: Drawing) -> str:
    """A tree a host: its NICs, its bridges with what hangs on them, and what hangs on none."""
    return "".join(f"{line}\n" for machine in drawing.machines for line in _machine(machine))


def _machine(machine: HostBox) -> Iterator[str]:
    trouble = f": {machine.trouble}" if machine.trouble else ""
    yield f"{machine.name} {machine.address}{trouble}{_verdict(machine.verdict)}"
    into = {edge.target for edge in machine.edges if edge.kind in ("veth", "shares")}
    ports = {edge.source for edge in machine.edges if edge.kind == "port"}
    roots = [node for node in machine.nodes if node.id not in into | ports]
    for number, node in enumerate(roots, 1):
        yield from _tree(machine, node, "", "", last=number == len(roots))


def _tree(
    machine: HostBox, node: GraphNode, label: str, indent: str, *, last: bool
) -> Iterator[str]:
    yield f"{indent}{'└─' if last else '├─'} {label}{_said(node)}"
    deeper = indent + ("   " if last else "│  ")
    below = list(_below(machine, node))
    for number, (word, child) in enumerate(below, 1):
        yield from _tree(machine, child, word, deeper, last=number == len(below))


def _below(machine: HostBox, node: GraphNode) -> Iterator[tuple[str, GraphNode]]:
    """A bridge's ports, the other ends of pairs, and who shares a namespace."""
    by_id = {one.id: one for one in machine.nodes}
    for edge in machine.edges:
        if edge.kind == "port" and edge.target == node.id:
            yield "", by_id[edge.source]
        elif edge.kind == "veth" and edge.source == node.id:
            inner = by_id[edge.target].lines[edge.at].split(" ")[0]
            yield f"{edge.label or node.lines[0]} ═ {inner} of ", by_id[edge.target]
        elif edge.kind == "shares" and edge.source == node.id:
            yield "", by_id[edge.target]


def _said(node: GraphNode) -> str:
    kind = f"{node.kind} " if node.kind != "container" else ""
    return f"{kind}{', '.join(node.lines)}{_verdict(node.verdict)}"


def _verdict(word: str) -> str:
    return f"  [{word}]" if word else ""


FORMS = {"svg": svg, "dot": dot, "mermaid": mermaid, "text": text}
SUFFIXES = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".txt": "text"}

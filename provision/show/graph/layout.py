"""The positions of all boxes, lines and labels of a drawing, in pixels. Pure.

A host is a band. Its nodes are in three columns, from left to right: NICs; bridges and tunnels;
containers. Edges bend only in the gaps between columns, each source on a vertical track of its
own, so that no line crosses a box and no label covers another.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph

CHAR, LINE, PAD = 7.3, 18, 8
"""Width of a character and height of a line in a monospaced font of 12 px; padding of a box."""
TRACK, GAP, MARGIN = 12, 14, 20
_COLUMNS = (("nic",), ("bridge", "tunnel", "link"), ("container",))
"""The kinds of nodes in each column."""
_LEGEND = {
    "nic": "NIC",
    "bridge": "bridge",
    "tunnel": "tunnel",
    "container": "container",
}
_VERDICT_LEGEND = {"ok": "its checks passed", "failed": "a check failed, or it drifted"}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `style` is its CSS classes."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    style: str = ""

    @property
    def width(self) -> float:
        return text_width(self.text)


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(slots=True)
class Picture:
    """All shapes, in drawing order: boxes below paths below labels."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def text_width(text: str) -> float:
    """The width of a text; wide characters (CJK) occupy two cells."""
    return CHAR * sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def picture(drawing: Drawing) -> Picture:
    """Lay out a drawing."""
    return _Layout(drawing).picture


class _Layout:
    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.picture = Picture()
        self.boxes: dict[str, Box] = {}
        self._measure_columns()
        y: float = MARGIN + LINE * (1 + len(drawing.lans)) + GAP
        for host in drawing.hosts:
            y = self._band(host, y) + GAP
        self._lans()
        self._legend(y + LINE)

    def _measure_columns(self) -> None:
        """Set the left edges and widths of the columns, which are the same for all hosts."""
        hosts = self.drawing.hosts
        left: float = MARGIN + TRACK * 2 * len(self.drawing.lans) + GAP
        self.widths: list[float] = [
            max((_node_width(node) for host in hosts for node in host.of(*kinds)), default=0)
            for kinds in _COLUMNS
        ]
        edges = [edge for host in hosts for edge in host.edges]
        label = max((text_width(edge.label) for edge in edges), default=0)
        self.band_x = left
        self.x: list[float] = [left + PAD]
        self.x.append(self.x[0] + self.widths[0] + TRACK * (self._tracks("port") + 2))
        self.labels_x = self.x[1] + self.widths[1] + TRACK * (self._tracks("veth") + 1)
        self.x.append(self.labels_x + label + TRACK)
        right = self.x[2] + self.widths[2] + TRACK * (self._tracks("shares") + 1) + PAD
        titles = max((text_width(_title(host)) for host in hosts), default=0)
        self.band_width = max(right - left, titles + 2 * PAD)
        self.picture.labels.append(Label(MARGIN, MARGIN + 12, self.drawing.title, "title"))

    def _tracks(self, kind: str) -> int:
        """The number of tracks that edges of a kind need: one for each source, on any host."""
        return max((len(_by_source(host, kind)) for host in self.drawing.hosts), default=0)

    def _band(self, host: HostGraph, y: float) -> float:
        """Lay out one host from `y` down; return its lower edge."""
        top = y + LINE + PAD
        bottom = top
        for column, kinds in enumerate(_COLUMNS):
            node_y = top
            for node in host.of(*kinds):
                node_y = self._node(node, column, node_y) + GAP
            bottom = max(bottom, node_y)
        style = f"host {host.verdict}".strip()
        # SVG draws in document order: the band goes below the nodes.
        self.picture.boxes.insert(0, Box(self.band_x, y, self.band_width, bottom - y, style))
        self.picture.labels.append(Label(self.band_x + PAD, y + LINE, _title(host), "title"))
        self._ports(host)
        self._veths(host)
        self._shares(host)
        return bottom

    def _node(self, node: GraphNode, column: int, y: float) -> float:
        """Lay out a node; return its lower edge."""
        height = LINE * len(node.lines) + PAD
        style = f"{node.kind} {node.verdict}".strip()
        box = Box(self.x[column], y, self.widths[column], height, style)
        self.boxes[node.id] = box
        self.picture.boxes.append(box)
        for number, line in enumerate(node.lines):
            style = "name" if number == 0 else ""
            # A baseline 4 px below the middle centres text of 12 px.
            self.picture.labels.append(Label(box.x + PAD, _line_y(box, number) + 4, line, style))
        return y + height

    def _ports(self, host: HostGraph) -> None:
        """From a NIC's right side, or a tunnel's left side, to the left side of its bridge."""
        for track, (source, edges) in enumerate(_by_source(host, "port").items(), 1):
            box = self.boxes[source]
            start_x = box.x + box.width if box.x == self.x[0] else box.x
            for edge in edges:
                target = self.boxes[edge.target]
                ends = (start_x, _middle(box)), (target.x, _line_y(target, 0))
                self._path(edge, ends, self.x[0] + self.widths[0] + TRACK * track)

    def _veths(self, host: HostGraph) -> None:
        for track, (source, edges) in enumerate(_by_source(host, "veth").items(), 1):
            box = self.boxes[source]
            for edge in edges:
                target = self.boxes[edge.target]
                y = _line_y(target, edge.target_line)
                ends = (box.x + box.width, _middle(box)), (target.x, y)
                self._path(edge, ends, self.x[1] + self.widths[1] + TRACK * track)
                if edge.label:
                    self.picture.labels.append(Label(self.labels_x, y - 4, edge.label, "pair"))

    def _shares(self, host: HostGraph) -> None:
        """On the right side, from a namespace's owner to the containers that share it."""
        right = self.x[2] + self.widths[2]
        for track, (source, edges) in enumerate(_by_source(host, "shares").items(), 1):
            for edge in edges:
                source_y, target_y = (_middle(self.boxes[id_]) for id_ in (source, edge.target))
                self._path(edge, ((right, source_y), (right, target_y)), right + TRACK * track)

    def _path(
        self, edge: Edge, ends: tuple[tuple[float, float], tuple[float, float]], x: float
    ) -> None:
        """Draw an edge between two points: horizontal, vertical at `x`, horizontal."""
        start, end = ends
        points = (start, (x, start[1]), (x, end[1]), end)
        self.picture.paths.append(Path(points, f"{edge.kind} {edge.verdict}".strip()))

    def _lans(self) -> None:
        """Draw each LAN as a vertical line on the left, labelled at its top."""
        for number, lan in enumerate(self.drawing.lans):
            x, y = MARGIN + TRACK * 2 * number + 4, MARGIN + LINE * (number + 2)
            self.picture.labels.append(Label(x, y - 4, str(lan.network), "pair"))
            boxes = [self.boxes[nic] for nic in lan.nics]
            # A NIC with addresses in two LANs gets two lines, one below the other.
            heights = [_line_y(box, 0) + 6 * number for box in boxes]
            self.picture.paths.append(Path(((x, y), (x, max(heights))), "lan"))
            for box, height in zip(boxes, heights, strict=True):
                self.picture.paths.append(Path(((x, height), (box.x, height)), "lan"))

    def _legend(self, y: float) -> None:
        x: float = self.band_x
        legend = _LEGEND | (_VERDICT_LEGEND if self.drawing.checked else {})
        for style, text in legend.items():
            self.picture.boxes.append(Box(x, y - 11, 14, 14, style))
            self.picture.labels.append(Label(x + 20, y, text))
            x += 20 + text_width(text) + LINE
        self.picture.width = max(self.band_x + self.band_width, x) + MARGIN
        self.picture.height = y + MARGIN


def _by_source(host: HostGraph, kind: str) -> dict[str, list[Edge]]:
    """The edges of a kind by their source."""
    edges: dict[str, list[Edge]] = {}
    for edge in host.edges:
        if edge.kind == kind:
            edges.setdefault(edge.source, []).append(edge)
    return edges


def _node_width(node: GraphNode) -> float:
    return max(map(text_width, node.lines)) + 2 * PAD


def _title(host: HostGraph) -> str:
    problem = f": {host.problem}" if host.problem else ""
    return f"{host.name} {host.address}{problem}"


def _middle(box: Box) -> float:
    return box.y + box.height / 2


def _line_y(box: Box, number: int) -> float:
    """The vertical middle of a line of text in a box."""
    return box.y + PAD / 2 + LINE * number + LINE / 2

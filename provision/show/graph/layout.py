"""The positions of all boxes, lines and labels of a drawing, in pixels. Pure.

A host is a band. Its nodes are in three columns, from left to right: NICs; bridges, tunnels and
routes; containers. Edges bend only in the gaps between columns, each source (each target, for the
edges to NICs) on a vertical track of its own, so that no line crosses a box and no label covers
another. A NIC's edges to containers (macvlan) pass below the middle column.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph, Id

CHAR, LINE, PAD = 7.3, 18, 8
"""Width of a character and height of a line in a monospaced font of 12 px; padding of a box."""
TRACK, GAP, MARGIN = 12, 14, 20
_COLUMNS = (("nic",), ("bridge", "tunnel", "route", "link"), ("container",))
"""The kinds of nodes in each column."""
_LEGEND = {
    "nic": "NIC",
    "bridge": "bridge",
    "tunnel": "tunnel",
    "route": "route",
    "container": "container",
}
_VERDICT_LEGEND = {"ok": "its checks passed", "failed": "a check failed, or it drifted"}


_OFFSETS = {"port": 0, "over": 5, "route": -5, "veth": -3}
"""Kinds of edges that end at the left side of a bridge, tunnel or route, and where, in pixels."""
Points = tuple[tuple[float, float], ...]
Bundles = dict[tuple[str, Id], list[Edge]]
"""Edges that share a track, by their kind and common end."""


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

    points: Points
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
        edges = [edge for host in hosts for bundle in _right(host).values() for edge in bundle]
        label = max((text_width(edge.label) for edge in edges), default=0)
        self.band_x = left
        self.x: list[float] = [left + PAD]
        self.x.append(
            self.x[0] + self.widths[0] + TRACK * (self._tracks(_left) + self._tracks(_macvlans) + 2)
        )
        self.labels_x = self.x[1] + self.widths[1] + TRACK * (self._tracks(_right) + 1)
        self.x.append(self.labels_x + label + TRACK)
        right = self.x[2] + self.widths[2] + TRACK * (self._tracks(_shares) + 1) + PAD
        titles = max((text_width(_title(host)) for host in hosts), default=0)
        self.band_width = max(right - left, titles + 2 * PAD)
        self.picture.labels.append(Label(MARGIN, MARGIN + 12, self.drawing.title, "title"))

    def _tracks(self, bundles: Callable[[HostGraph], Bundles]) -> int:
        """The number of tracks that edges of a gap need on any host: one for each bundle."""
        return max((len(bundles(host)) for host in self.drawing.hosts), default=0)

    def _band(self, host: HostGraph, y: float) -> float:
        """Lay out one host from `y` down; return its lower edge."""
        top = y + LINE + PAD
        bottoms = []
        for column, kinds in enumerate(_COLUMNS):
            node_y = top
            for node in host.of(*kinds):
                node_y = self._node(node, column, node_y) + GAP
            bottoms.append(node_y)
        below = bottoms[1]
        bottoms[1] += TRACK * len(_macvlans(host))
        bottom = max(bottoms)
        style = f"host {host.verdict}".strip()
        # SVG draws in document order: the band goes below the nodes.
        self.picture.boxes.insert(0, Box(self.band_x, y, self.band_width, bottom - y, style))
        self.picture.labels.append(Label(self.band_x + PAD, y + LINE, _title(host), "title"))
        self._left_edges(host)
        self._right_edges(host, below)
        self._shares(host)
        return bottom

    def _node(self, node: GraphNode, column: int, y: float) -> float:
        """Lay out a node; return its lower edge."""
        height = LINE * len(node.lines) + PAD
        style = " ".join(filter(None, (node.kind, node.verdict, "" if node.up else "down")))
        box = Box(self.x[column], y, self.widths[column], height, style)
        self.boxes[node.id] = box
        self.picture.boxes.append(box)
        for number, line in enumerate(node.lines):
            style = "name" if number == 0 else ""
            # A baseline 4 px below the middle centres text of 12 px.
            self.picture.labels.append(Label(box.x + PAD, _line_y(box, number) + 4, line, style))
        return y + height

    def _left_edges(self, host: HostGraph) -> None:
        """Between a NIC's right side and the left sides of the middle column, or two of these."""
        for track, edges in enumerate(_left(host).values(), 1):
            for edge in edges:
                x = self.x[0] + self.widths[0] + TRACK * track
                ends = (self._left_end(edge, end) for end in (edge.source, edge.target))
                self._path(edge, tuple(ends), x)

    def _left_end(self, edge: Edge, node_id: Id) -> tuple[float, float]:
        """The end of an edge at a node. Edges of several kinds end one below the other."""
        box = self.boxes[node_id]
        if box.x == self.x[0]:
            return box.x + box.width, _middle(box)
        return box.x, _line_y(box, 0) + _OFFSETS[edge.kind]

    def _right_edges(self, host: HostGraph, below: float) -> None:
        """To containers, from bridges and from NICs; `below` is the end of the middle column."""
        for track, edges in enumerate(_right(host).values(), 1):
            for edge in edges:
                source, target = self.boxes[edge.source], self.boxes[edge.target]
                y = _line_y(target, edge.target_line)
                start = source.x + source.width, _middle(source)
                x = self.x[1] + self.widths[1] + TRACK * track
                self._path(edge, (*self._detour(host, edge, start, below), (target.x, y)), x)
                if edge.label:
                    self.picture.labels.append(Label(self.labels_x, y - 4, edge.label, "pair"))

    def _detour(
        self, host: HostGraph, edge: Edge, start: tuple[float, float], below: float
    ) -> Points:
        """The beginning of an edge: from a NIC it passes below the middle column."""
        if edge.kind != "macvlan":
            return (start,)
        number = list(_macvlans(host)).index((edge.kind, edge.source))
        x = self.x[0] + self.widths[0] + TRACK * (len(_left(host)) + 1 + number)
        y = below + TRACK * number
        return (start, (x, start[1]), (x, y), (self.x[1], y))

    def _shares(self, host: HostGraph) -> None:
        """On the right side, from a namespace's owner to the containers that share it."""
        right = self.x[2] + self.widths[2]
        for track, edges in enumerate(_shares(host).values(), 1):
            for edge in edges:
                ids = edge.source, edge.target
                source_y, target_y = (_middle(self.boxes[node_id]) for node_id in ids)
                self._path(edge, ((right, source_y), (right, target_y)), right + TRACK * track)

    def _path(self, edge: Edge, points: Points, x: float) -> None:
        """Draw an edge through points; before the last one it bends at `x`."""
        *before, start, end = points
        bent = (*before, start, (x, start[1]), (x, end[1]), end)
        style = (edge.kind, edge.verdict, "" if edge.up else "down")
        self.picture.paths.append(Path(bent, " ".join(filter(None, style))))

    def _lans(self) -> None:
        """Draw each LAN as a vertical line on the left, labelled at its top."""
        for number, lan in enumerate(self.drawing.lans):
            x, y = MARGIN + TRACK * 2 * number + 4, MARGIN + LINE * (number + 2)
            self.picture.labels.append(Label(x, y - 4, str(lan.network), "pair"))
            # A NIC that was moved into a container has no place at the left side.
            boxes = [self.boxes[nic] for nic in lan.nics if self.boxes[nic].x == self.x[0]]
            # A NIC with addresses in two LANs gets two lines, one below the other.
            heights = [_line_y(box, 0) + 6 * number for box in boxes]
            self.picture.paths.append(Path(((x, y), (x, max(heights, default=y))), "lan"))
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


def _left(host: HostGraph) -> Bundles:
    """The edges in the gap between NICs and bridges."""
    middle = {node.id for node in host.of(*_COLUMNS[1])}
    bundles: Bundles = {}
    for edge in host.edges:
        if edge.kind in _OFFSETS and (edge.kind != "veth" or edge.target in middle):
            end = edge.target if edge.kind == "over" else edge.source
            bundles.setdefault((edge.kind, end), []).append(edge)
    return bundles


def _right(host: HostGraph) -> Bundles:
    """The edges in the gap before containers, by source."""
    inner = {node.id for node in host.of("container")}
    return _by_source(edge for edge in host.edges if edge.kind != "shares" and edge.target in inner)


def _macvlans(host: HostGraph) -> Bundles:
    """The edges from NICs to containers, by source."""
    return _by_source(edge for edge in host.edges if edge.kind == "macvlan")


def _shares(host: HostGraph) -> Bundles:
    """The edges between containers, by source."""
    return _by_source(edge for edge in host.edges if edge.kind == "shares")


def _by_source(edges: Iterable[Edge]) -> Bundles:
    bundles: Bundles = {}
    for edge in edges:
        bundles.setdefault((edge.kind, edge.source), []).append(edge)
    return bundles


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

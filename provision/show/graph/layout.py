"""A drawing → places of all boxes, lines and words, in pixels. Pure.

A host is a band; in it stand, from left to right, its NICs, its bridges and tunnels, and its
containers. Lines bend only between these columns, each source in a lane of its own, so that no
line runs through a box, and no word stands on another.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from provision.show.graph.model import Drawing, Edge, GraphNode, HostBox

CHAR, LINE, PAD = 7.3, 18, 8
"""A character's width and a line's height in a monospaced font of 12 pixels; space in a box."""
LANE, GAP, MARGIN = 12, 14, 20
_LEGEND = {
    "nic": "NIC",
    "bridge": "bridge",
    "tunnel": "tunnel",
    "container": "container",
}
_JUDGED = {"ok": "its checks passed", "failed": "a check failed, or it drifted"}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `style` names its looks."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True, slots=True)
class Word:
    """A line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    style: str = ""

    @property
    def width(self) -> float:
        return wide(self.text)


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(slots=True)
class Picture:
    """Everything that is drawn, in order: boxes below lines below words."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)


def wide(text: str) -> float:
    """The width of a text; ideographs take two places."""
    return CHAR * sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def picture(drawing: Drawing) -> Picture:
    """Where everything of a drawing goes."""
    return _Sheet(drawing).picture


class _Sheet:
    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.picture = Picture()
        self.places: dict[str, Box] = {}
        self._columns()
        y: float = MARGIN + LINE * (1 + len(drawing.lans)) + GAP
        for machine in drawing.machines:
            y = self._band(machine, y) + GAP
        self._lans()
        self._legend(y + LINE)

    def _columns(self) -> None:
        """The left edges and widths of the three columns, the same for all hosts."""
        machines = self.drawing.machines
        left: float = MARGIN + LANE * 2 * len(self.drawing.lans) + GAP
        self.widths: list[float] = [
            max((_width(node) for machine in machines for node in _column(machine, k)), default=0)
            for k in range(3)
        ]
        edges = [edge for machine in machines for edge in machine.edges]
        label = max((wide(edge.label) for edge in edges), default=0)
        ports = max((len(_sources(machine, "port")) for machine in machines), default=0)
        veths = max((len(_sources(machine, "veth")) for machine in machines), default=0)
        shares = max((len(_sources(machine, "shares")) for machine in machines), default=0)
        self.band_x = left
        self.x: list[float] = [left + PAD]
        self.x.append(self.x[0] + self.widths[0] + LANE * (ports + 2))
        self.labels_x = self.x[1] + self.widths[1] + LANE * (veths + 1)
        self.x.append(self.labels_x + label + LANE)
        right = self.x[2] + self.widths[2] + LANE * (shares + 1) + PAD
        titles = max((wide(_title(machine)) for machine in machines), default=0)
        self.band_width = max(right - left, titles + 2 * PAD)
        self.picture.words.append(Word(MARGIN, MARGIN + 12, self.drawing.title, "title"))

    def _band(self, machine: HostBox, y: float) -> float:
        top = y + LINE + PAD
        bottom = top
        for k in range(3):
            at = top
            for node in _column(machine, k):
                at = self._node(node, k, at) + GAP
            bottom = max(bottom, at)
        self.picture.boxes.insert(
            0, Box(self.band_x, y, self.band_width, bottom - y, f"host {machine.verdict}".strip())
        )
        self.picture.words.append(Word(self.band_x + PAD, y + LINE, _title(machine), "title"))
        self._ports(machine)
        self._veths(machine)
        self._shares(machine)
        return bottom

    def _node(self, node: GraphNode, k: int, y: float) -> float:
        height = LINE * len(node.lines) + PAD
        box = Box(self.x[k], y, self.widths[k], height, f"{node.kind} {node.verdict}".strip())
        self.places[node.id] = box
        self.picture.boxes.append(box)
        for number, line in enumerate(node.lines):
            style = "name" if number == 0 else ""
            self.picture.words.append(Word(box.x + PAD, _line_y(box, number) + 4, line, style))
        return y + height

    def _ports(self, machine: HostBox) -> None:
        """From a NIC's right side, or a tunnel's left one, to the left side of its bridge."""
        for lane, (source, edges) in enumerate(_sources(machine, "port").items(), 1):
            box = self.places[source]
            begin = box.x + box.width if box.x == self.x[0] else box.x
            for edge in edges:
                into = self.places[edge.target]
                ends = (begin, _middle(box)), (into.x, _line_y(into, 0))
                self._bent(edge, ends, self.x[0] + self.widths[0] + LANE * lane)

    def _veths(self, machine: HostBox) -> None:
        for lane, (source, edges) in enumerate(_sources(machine, "veth").items(), 1):
            box = self.places[source]
            for edge in edges:
                into = self.places[edge.target]
                y = _line_y(into, edge.at)
                ends = (box.x + box.width, _middle(box)), (into.x, y)
                self._bent(edge, ends, self.x[1] + self.widths[1] + LANE * lane)
                if edge.label:
                    self.picture.words.append(Word(self.labels_x, y - 4, edge.label, "pair"))

    def _shares(self, machine: HostBox) -> None:
        """On the right side, from whoever brought the namespace to those that live in it."""
        for lane, (source, edges) in enumerate(_sources(machine, "shares").items(), 1):
            right = self.x[2] + self.widths[2]
            for edge in edges:
                ends = (
                    (right, _middle(self.places[source])),
                    (right, _middle(self.places[edge.target])),
                )
                self._bent(edge, ends, right + LANE * lane)

    def _bent(
        self, edge: Edge, ends: tuple[tuple[float, float], tuple[float, float]], x: float
    ) -> None:
        begin, end = ends
        points = (begin, (x, begin[1]), (x, end[1]), end)
        self.picture.paths.append(Path(points, f"{edge.kind} {edge.verdict}".strip()))

    def _lans(self) -> None:
        """Each a vertical line on the left, named at its top."""
        for number, lan in enumerate(self.drawing.lans):
            x, y = MARGIN + LANE * 2 * number + 4, MARGIN + LINE * (number + 2)
            self.picture.words.append(Word(x, y - 4, str(lan.network), "pair"))
            ends = [self.places[nic] for nic in lan.nics]
            # A NIC of two ranges is met at two heights.
            heights = [_line_y(box, 0) + 6 * number for box in ends]
            self.picture.paths.append(Path(((x, y), (x, max(heights))), "lan"))
            for box, height in zip(ends, heights, strict=True):
                self.picture.paths.append(Path(((x, height), (box.x, height)), "lan"))

    def _legend(self, y: float) -> None:
        x: float = self.band_x
        known = _LEGEND | (_JUDGED if self.drawing.judged else {})
        for style, text in known.items():
            self.picture.boxes.append(Box(x, y - 11, 14, 14, style))
            self.picture.words.append(Word(x + 20, y, text))
            x += 20 + wide(text) + LINE
        self.picture.width = max(self.band_x + self.band_width, x) + MARGIN
        self.picture.height = y + MARGIN


def _column(machine: HostBox, k: int) -> tuple[GraphNode, ...]:
    kinds = (("nic",), ("bridge", "tunnel", "link"), ("container",))
    return machine.of(*kinds[k])


def _sources(machine: HostBox, kind: str) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in machine.edges:
        if edge.kind == kind:
            found.setdefault(edge.source, []).append(edge)
    return found


def _width(node: GraphNode) -> float:
    return max(map(wide, node.lines)) + 2 * PAD


def _title(machine: HostBox) -> str:
    trouble = f": {machine.trouble}" if machine.trouble else ""
    return f"{machine.name} {machine.address}{trouble}"


def _middle(box: Box) -> float:
    return box.y + box.height / 2


def _line_y(box: Box, number: int) -> float:
    """The middle of a line of a box's words."""
    return box.y + PAD / 2 + LINE * number + LINE / 2

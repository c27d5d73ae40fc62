"""`show` and `graph`: one script per host, tables, JSON, and legible drawings.

The hosts are captures from tests/probes/wiring; the golden files are in `show/`.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from provision.engine.fleet import Session
from provision.facts.topology_probe import parse
from provision.model.errors import ConnectError, FactsError, HostError, UsageError
from provision.model.terminal import printable
from provision.show.graph.draw import drawing
from provision.show.graph.formats import FORMATS, dot_string, mermaid_string, svg, text
from provision.show.graph.layout import Box, Label, Picture, picture
from provision.show.graph.model import Drawing, Edge, GraphNode, HostGraph, Lan
from provision.show.graph.verdict import read
from provision.show.shape import shape
from provision.show.tables import Table, tables
from provision.show.text import framed, plain
from provision.show.view import View, view
from provision.transport.base import Output

FOLDER = Path(__file__).parent / "show"
WIRING = Path(__file__).parents[1] / "probes/wiring"
SUITES = {"h1": "trixie", "h2": "bookworm", "h3": "sid"}
HOSTILE = """a"b<c>&d\\e'f]]>;g`h|i\x1b[31m\u202e#%%"""


class CapturedHosts:
    """A transport that returns captures; a host in `errors` raises its error."""

    def __init__(self, **errors: HostError) -> None:
        self.errors, self.runs = errors, list[str]()

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert "wired" in script and timeout_s > 0
        self.runs.append(host)
        if host in self.errors:
            raise self.errors[host]
        return Output(0, (WIRING / f"modes-{SUITES[host]}.out").read_text(), "")

    def send(self, *_arguments: object, **_options: object) -> None:
        raise AssertionError("nothing is sent")

    def close(self) -> None:
        pass


def view_of(transport: CapturedHosts | None = None) -> View:
    """The view of the three captured hosts."""
    from provision.inventory.load import load

    inventory = load(WIRING / "inventory.yml")
    return view(Session(inventory, transport or CapturedHosts()), tuple(inventory.hosts))


def verify_json(**failed: str) -> str:
    """The JSON of a verify in which the checks from these containers failed."""
    checks = [
        {"check": "ping", "from": source, "to": target, "ok": source not in failed.values(),
         "skipped": None, "detail": ""}
        for source, target in (("web1", "net1"), ("net2", "net2"), ("site", "site"))
    ]  # fmt: skip
    skip = {"check": "tcp", "from": "bare1", "to": "bare2", "ok": False, "skipped": "no perl"}
    drift = [{"host": "h3", "kind": "docker_network", "name": "blue", "verb": "replace"}]
    return json.dumps({"ok": False, "drift": drift, "checks": [*checks, skip], "seconds": 1})


@pytest.mark.parametrize("name", ["show.txt", "show.json", "graph.txt", "graph.dot", "graph.mmd"])
def test_each_format_of_a_view(name: str, request: pytest.FixtureRequest) -> None:
    """The golden files have the tables, the JSON and the graphs of the three hosts."""
    view = view_of()
    text = {
        "show.txt": lambda: plain(tables(view)),
        "show.json": lambda: json.dumps(shape(view), indent=1) + "\n",
        "graph.txt": lambda: FORMATS["text"](drawing(view)),
        "graph.dot": lambda: FORMATS["dot"](drawing(view)),
        "graph.mmd": lambda: FORMATS["mermaid"](drawing(view)),
    }[name]()
    if request.config.getoption("update_goldens"):
        (FOLDER / name).write_text(text)
    assert text == (FOLDER / name).read_text()


def test_show_runs_one_script_per_host() -> None:
    """However much it shows."""
    transport = CapturedHosts()
    assert view_of(transport).exit_status == 0
    assert sorted(transport.runs) == ["h1", "h2", "h3"]


def test_an_unreachable_host_is_an_error_and_the_others_are_shown() -> None:
    """The exit status is 4; the host's subnets come from the inventory."""
    view = view_of(CapturedHosts(h2=ConnectError("h2", "unreachable")))
    assert view.exit_status == 4
    data = shape(view)
    assert list(data["hosts"]) == ["h1", "h3"]
    assert [(error["host"], error["kind"]) for error in data["errors"]] == [("h2", "ConnectError")]
    assert data["networks"][0]["hosts"]["h2"] == {"subnet": "172.20.1.0/24", "bridge": None}
    assert "172.20.1.0/24  unknown" in plain(tables(view))
    assert "h2 10.92.0.12: unreachable\n" in text(drawing(view))
    assert "unreachable" in "".join(label.text for label in picture(drawing(view)).labels)


def test_a_failed_script_is_an_error_and_not_an_empty_host() -> None:
    """The error has the host's stderr."""

    class Failing(CapturedHosts):
        def run(self, host: str, script: str, *, timeout_s: float) -> Output:
            output = super().run(host, script, timeout_s=timeout_s)
            return replace(output, status=1, stderr="iptables: locked") if host == "h1" else output

    errors = view_of(Failing()).errors
    assert [type(error) for error in errors] == [FactsError]
    assert "iptables: locked" in errors[0].message


def test_a_missing_dnat_rule_and_a_stray_one_are_shown() -> None:
    """The port has no rule, and the rule has no container."""
    capture = (WIRING / "modes-trixie.out").read_text()
    changed = parse("h1", capture.replace("172.17.0.2:80\n", "172.17.0.99:80\n"))
    view = replace(view_of(), topologies={"h1": changed}, hosts=("h1",))
    ports = shape(view)["hosts"]["h1"]["ports"]
    assert [port["rule"] for port in ports if port["published"] == "0.0.0.0:8080"] == [None]
    assert ports[-1]["container"] is None and ports[-1]["rule"]["to"] == "172.17.0.99:80"
    rows = {
        fields[1]: fields
        for fields in map(str.split, plain(tables(view)).splitlines())
        if len(fields) > 5
    }
    assert rows["0.0.0.0:8080"][2:] in (
        ["-", "tcp", "DNAT", "to", "172.17.0.99:80", "0", "0"],
        ["web1", "80/tcp", "missing", "-", "-"],
    )


def test_framed_tables_fit_the_terminal() -> None:
    """No line is wider than the terminal, and no address or name is cut."""
    shown = list(tables(view_of()))
    words = {word for table in shown for row in table.rows for cell in row for word in cell.split()}
    assert "172.20.0.9/24" in words
    for width in (80, 120, 200):
        stream = io.StringIO()
        framed(shown, Console(file=stream, width=width, force_terminal=True, no_color=True))
        text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
        assert max(map(len, text.splitlines())) <= width
        assert "─" in text
        printed = set(text.replace(";", " ").split())
        assert {word.strip(";") for word in words} <= printed, width


def test_text_of_a_host_does_not_control_the_terminal() -> None:
    """Rich does not read markup in it either."""
    text = plain([Table("t", ("a",), (("\x1b[31m[red]x\u202e",),))])
    assert text.splitlines()[2:] == ["?[31m[red]x?"]


def test_any_interface_name_is_safe_in_each_format() -> None:
    """The kernel allows almost any character in a name."""
    capture = (WIRING / "modes-trixie.out").read_text()
    hostile = json.dumps("""e"<&>\\'#\x1b""")[1:-1]
    view = replace(
        view_of(), topologies={"h1": parse("h1", capture.replace("host0", hostile))}, hosts=("h1",)
    )
    drawn = drawing(view)
    name = """e"<&>\\'#?"""
    assert name in {node.lines[0] for node in drawn.hosts[0].nodes}
    root = ElementTree.fromstring(svg(drawn))
    assert name in [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert dot_string(name) == '"e\\"<&>\\\\\'#?"'
    assert dot_string(name)[:-1] in FORMATS["dot"](drawn)
    assert "e#34;#60;#38;#62;#92;#39;#35;#63;" in FORMATS["mermaid"](drawn)


def test_each_format_quotes_hostile_text() -> None:
    """No text ends its own quotes."""
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', dot_string(HOSTILE, HOSTILE))
    assert re.fullmatch(r'"(?:[\w ._:/()→,-]|#\d+;|<br/>)*"', mermaid_string(HOSTILE, HOSTILE))
    root = ElementTree.fromstring(svg(replace(drawing(view_of()), title="</title><script>")))
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "</title><script>"


@given(st.text())
def test_any_text_survives_each_format(hostile: str) -> None:
    """Printable text comes back from XML, from DOT and from Mermaid."""
    label = printable(hostile)
    node = GraphNode("h1_1", "nic", (f"x{label}",))
    drawn = Drawing("t", (HostGraph("h1", "10.0.0.1", (node,)),), ())
    root = ElementTree.fromstring(svg(drawn))
    assert f"x{label}" in [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', dot_string(label))
    assert quoted and re.sub(r"\\(.)", r"\1", quoted[1]) == label
    escaped = mermaid_string(label)
    assert not re.search(r"[\"<>&`|\[\]{}\\]", escaped[1:-1])
    assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), escaped) == f'"{label}"'


# Geometry, for any number of hosts and containers.


def fleet(hosts: int, containers: int, *, checked: bool = False) -> Drawing:
    """Hosts with two NICs, three bridges, a tunnel, two routes, and containers.

    These have one to three interfaces on bridges, and some have one on a NIC.
    """
    graphs = []
    for n in range(1, hosts + 1):
        nodes = [GraphNode(f"h{n}_{k}", "nic", (f"eth{k}", f"10.{k}.0.{n}/24")) for k in (1, 2)]
        nodes += [
            GraphNode(f"h{n}_b{k}", "bridge", (f"br-{k}-abcdefghi (blue)", f"172.2{k}.{n}.1/24"))
            for k in (1, 2, 3)
        ]
        nodes += [
            GraphNode(f"h{n}_r{k}", "route", (f"172.2{k}.9.0/24 via 10.2.0.9 dev eth2", "→ host-9"))
            for k in (1, 2)
        ]
        nodes.append(GraphNode(f"h{n}_t", "tunnel", ("flannel.1 (vxlan)", f"172.16.{n}.0/32")))
        edges = [Edge(f"h{n}_2", f"h{n}_b2", "port"), Edge(f"h{n}_t", f"h{n}_b1", "port")]
        edges.append(Edge(f"h{n}_b1", f"h{n}_b3", "veth", "inner ═ outer-abcdefghi", up=False))
        for k in (1, 2):
            edges.append(Edge(f"h{n}_b{k}", f"h{n}_r{k}", "route"))
            edges.append(Edge(f"h{n}_r{k}", f"h{n}_{k}", "over", up=False))
        edges.append(Edge(f"h{n}_t", f"h{n}_b3", "over"))
        for c in range(containers):
            ends = range(1, 2 + c % 3)
            lines = (f"container-{c} (blue)", *(f"eth{k} 172.2{k}.{n}.{c}/24" for k in ends))
            nodes.append(
                GraphNode(f"h{n}_c{c}", "container", (*lines, "0.0.0.0:8080 → 80/tcp"), "ok")
            )
            edges += [
                Edge(f"h{n}_b{1 + k % 2}", f"h{n}_c{c}", "veth", f"veth{n}{c}{k}abcdef", k, "ok")
                for k in ends
            ]
            if c % 3 == 0:
                edges.append(
                    Edge(f"h{n}_{1 + c % 2}", f"h{n}_c{c}", "macvlan", "macvlan", len(lines))
                )
            if c % 2:
                edges.append(Edge(f"h{n}_c{c - 1}", f"h{n}_c{c}", "shares"))
        graphs.append(HostGraph(f"host-{n}", f"10.1.0.{n}", tuple(nodes), tuple(edges)))
    names = range(1, hosts + 1)
    lans = tuple(
        Lan(f"lan{k}", IPv4Network(f"10.{k}.0.0/24"), tuple(f"h{n}_{k}" for n in names))
        for k in (1, 2)
    )
    return Drawing("demo", tuple(graphs), lans, checked)


Edges = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def label_edges(label: Label) -> Edges:
    return label.x, label.y - 10, label.x + label.width, label.y + 3


def box_edges(box: Box) -> Edges:
    return box.x, box.y, box.x + box.width, box.y + box.height


def separate(a: Edges, b: Edges) -> bool:
    """True if the rectangles do not overlap."""
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def inside(a: Edges, b: Edges) -> bool:
    """True if rectangle a is inside rectangle b."""
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def strokes(drawn: Picture) -> Iterator[tuple[str, Edges]]:
    """The style and the rectangle of each straight piece of a path."""
    for path in drawn.paths:
        for (ax, ay), (bx, by) in itertools.pairwise(path.points):
            assert ax == bx or ay == by
            yield path.style, (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def overlaps(drawn: Picture) -> list[str]:
    """Everything that makes a picture hard to read."""
    bands = [box_edges(box) for box in drawn.boxes if box.style.startswith("host")]
    boxes = [box_edges(box) for box in drawn.boxes if not box.style.startswith("host")]
    labels = [(label.text, label_edges(label)) for label in drawn.labels]
    paper = (0.0, 0.0, drawn.width, drawn.height)
    bad = [
        f"{a[0]} on {b[0]}"
        for a, b in itertools.combinations(labels, 2)
        if not separate(a[1], b[1])
    ]
    bad += [f"{a} on {b}" for a, b in itertools.combinations(boxes, 2) if not separate(a, b)]
    bad += [f"{a} on {b}" for a, b in itertools.combinations(bands, 2) if not separate(a, b)]
    for name, edges in labels:
        bad += [f"{name} on the edge of {box}" for box in (*boxes, *bands)
                if not separate(edges, box) and not inside(edges, box)]  # fmt: skip
        bad += [f"{name} is off the paper"] if not inside(edges, paper) else []
    for style, stroke in strokes(drawn):
        thin = (stroke[0] + 0.5, stroke[1] - 0.1, stroke[2] - 0.5, stroke[3] + 0.1)
        bad += [f"{style} through {text}" for text, edges in labels if not separate(thin, edges)]
        bad += [f"{style} through {box}" for box in boxes if not separate(thin, box)]
    return bad


@pytest.mark.parametrize(("hosts", "containers"), [(1, 1), (3, 4), (5, 12), (2, 0)])
def test_nothing_overlaps(hosts: int, containers: int) -> None:
    """Labels, boxes and lines are separate, and inside the picture."""
    assert overlaps(picture(fleet(hosts, containers, checked=True))) == []


def test_nothing_overlaps_on_captured_hosts() -> None:
    """Neither with three hosts, nor with an unreachable one and results of verify."""
    assert overlaps(picture(drawing(view_of()))) == []
    lost = view_of(CapturedHosts(h2=ConnectError("h2", "no route to host " * 9)))
    assert overlaps(picture(drawing(lost, read(verify_json(), "x")))) == []


def test_an_overlap_is_reported() -> None:
    """Two labels, two boxes, and a line through a label are overlaps."""
    drawn = picture(fleet(3, 4))
    label = drawn.labels[5]
    for changed in (
        replace(drawn, labels=[*drawn.labels, replace(label, x=label.x + 3)]),
        replace(drawn, boxes=[*drawn.boxes, replace(drawn.boxes[-1], y=drawn.boxes[3].y)]),
        replace(
            drawn, paths=[replace(drawn.paths[0], points=((0, label.y - 4), (900, label.y - 4)))]
        ),
    ):
        assert overlaps(changed)


# Colours.


def test_colours_follow_the_results_of_verify() -> None:
    """Failed, passed and unchecked containers, their pairs, and a network with drift."""
    drawn = drawing(view_of(), read(verify_json(failed="web1"), "v.json"))
    nodes = {
        (host.name, node.lines[0].split(" ")[0]): node.verdict
        for host in drawn.hosts
        for node in host.nodes
    }
    assert nodes["h1", "web1"] == nodes["h1", "net1"] == "failed"
    assert nodes["h2", "net2"] == nodes["h3", "site"] == "ok"
    assert nodes["h1", "bare1"] == nodes["h2", "bare2"] == ""
    assert nodes["h3", "br-blue-5x57ni"] == "failed" and nodes["h2", "br-blue-5x57ni"] == ""
    assert [host.verdict for host in drawn.hosts] == ["", "", "failed"]
    pairs = {edge.target: edge.verdict for edge in drawn.hosts[0].edges if edge.kind == "veth"}
    assert set(pairs.values()) == {"failed"}
    assert "web1 (bridge), eth0 172.17.0.2/16" in text(drawn) and "[failed]" in text(drawn)
    assert 'class="container failed"' in svg(drawn) and "its checks passed" in svg(drawn)
    assert "its checks passed" not in svg(drawing(view_of()))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checks": 3, "drift": []}', "[" * 100_000])
def test_a_file_that_is_not_a_result_of_verify_is_refused(text: str) -> None:
    """The error names the file."""
    with pytest.raises(UsageError, match=r"v\.json"):
        read(text, "--verify v.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "x.pdf"), "the suffix belongs to no format"),
        (("--verify", "none.json"), "none.json"),
        (("--format", "png"), "png"),
        (("--json", "--format", "svg"), "--json and --format svg exclude each other"),
    ],
)
def test_graph_refuses_invalid_options(options: tuple[str, ...], message: str) -> None:
    """The exit status is 2, and no host is contacted; none of the inventory's hosts exists."""
    program = Path(sys.executable).with_name("provision")
    argv = (str(program), "graph", str(WIRING / "inventory.yml"), *options)
    process = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert process.returncode == 2, (process.stdout, process.stderr)
    assert message in process.stdout + process.stderr

"""show and graph: one look a host, its tables and JSON, and drawings that can be read.

The hosts are those of tests/probes/wiring, three of them in one view; goldens are in `show/`.
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


class Captured:
    """A transport that gives captures; a host among `errors` gives its error."""

    def __init__(self, **errors: HostError) -> None:
        self.errors, self.runs = errors, list[str]()

    def run(self, host: str, script: str, *, timeout_s: float) -> Output:
        assert "wired" in script and timeout_s > 0
        self.runs.append(host)
        if host in self.errors:
            raise self.errors[host]
        return Output(0, (WIRING / f"modes-{SUITES[host]}.out").read_text(), "")

    def send(self, *_what: object, **_when: object) -> None:
        raise AssertionError("nothing is sent")

    def close(self) -> None:
        pass


def seen(transport: Captured | None = None) -> View:
    from provision.inventory.load import load

    inventory = load(WIRING / "inventory.yml")
    return view(Session(inventory, transport or Captured()), tuple(inventory.hosts))


def verdict_json(**failed: str) -> str:
    checks = [
        {"check": "ping", "from": one, "to": other, "ok": one not in failed.values(),
         "skipped": None, "detail": ""}
        for one, other in (("web1", "net1"), ("net2", "net2"), ("site", "site"))
    ]  # fmt: skip
    skip = {"check": "tcp", "from": "bare1", "to": "bare2", "ok": False, "skipped": "no perl"}
    drift = [{"host": "h3", "kind": "docker_network", "name": "blue", "verb": "replace"}]
    return json.dumps({"ok": False, "drift": drift, "checks": [*checks, skip], "seconds": 1})


@pytest.mark.parametrize("name", ["show.txt", "show.json", "graph.txt", "graph.dot", "graph.mmd"])
def test_a_view_in_each_form(name: str, request: pytest.FixtureRequest) -> None:
    """What people and programs get of the three hosts."""
    whole = seen()
    made = {
        "show.txt": lambda: plain(tables(whole)),
        "show.json": lambda: json.dumps(shape(whole), indent=1) + "\n",
        "graph.txt": lambda: FORMATS["text"](drawing(whole)),
        "graph.dot": lambda: FORMATS["dot"](drawing(whole)),
        "graph.mmd": lambda: FORMATS["mermaid"](drawing(whole)),
    }[name]()
    if request.config.getoption("update_goldens"):
        (FOLDER / name).write_text(made)
    assert made == (FOLDER / name).read_text()


def test_one_look_a_host() -> None:
    """However much is shown."""
    transport = Captured()
    assert seen(transport).exit_status == 0
    assert sorted(transport.runs) == ["h1", "h2", "h3"]


def test_a_lost_host_is_told_and_the_others_are_shown() -> None:
    """Status 4; its part of the networks is known all the same."""
    found = seen(Captured(h2=ConnectError("h2", "unreachable")))
    assert found.exit_status == 4
    said = shape(found)
    assert list(said["hosts"]) == ["h1", "h3"]
    assert [(error["host"], error["kind"]) for error in said["errors"]] == [("h2", "ConnectError")]
    assert said["networks"][0]["hosts"]["h2"] == {"subnet": "172.20.1.0/24", "bridge": None}
    assert "172.20.1.0/24  unknown" in plain(tables(found))
    assert "h2 10.92.0.12: unreachable\n" in text(drawing(found))
    assert "unreachable" in "".join(word.text for word in picture(drawing(found)).labels)


def test_a_look_that_fails_is_no_empty_host() -> None:
    """What the host said of it is told."""

    class Failing(Captured):
        def run(self, host: str, script: str, *, timeout_s: float) -> Output:
            whole = super().run(host, script, timeout_s=timeout_s)
            return replace(whole, status=1, stderr="iptables: locked") if host == "h1" else whole

    errors = seen(Failing()).errors
    assert [type(error) for error in errors] == [FactsError]
    assert "iptables: locked" in errors[0].message


def test_a_stray_rule_and_a_missing_one() -> None:
    """A published port without its rule says so; a rule without a container is shown."""
    whole = (WIRING / "modes-trixie.out").read_text()
    moved = parse("h1", whole.replace("172.17.0.2:80\n", "172.17.0.99:80\n"))
    found = replace(seen(), topologies={"h1": moved}, hosts=("h1",))
    ports = shape(found)["hosts"]["h1"]["ports"]
    assert [one["rule"] for one in ports if one["published"] == "0.0.0.0:8080"] == [None]
    assert ports[-1]["container"] is None and ports[-1]["rule"]["to"] == "172.17.0.99:80"
    rows = {
        words[1]: words
        for words in map(str.split, plain(tables(found)).splitlines())
        if len(words) > 5
    }
    assert rows["0.0.0.0:8080"][2:] in (
        ["-", "tcp", "DNAT", "to", "172.17.0.99:80", "0", "0"],
        ["web1", "80/tcp", "missing", "-", "-"],
    )


def test_on_a_terminal_tables_have_frames_and_fit() -> None:
    """No line is wider than the terminal, and no word of a cell is lost."""
    for width in (80, 200):
        stream = io.StringIO()
        framed(
            tables(seen()), Console(file=stream, width=width, force_terminal=True, no_color=True)
        )
        lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
        assert max(map(len, lines)) <= width
        assert "─" in stream.getvalue()


def test_words_of_hosts_do_not_steer_the_terminal() -> None:
    """Nor does rich read markup in them."""
    said = plain([Table("t", ("a",), (("\x1b[31m[red]x\u202e",),))])
    assert said.splitlines()[2:] == ["?[31m[red]x?"]


def test_names_of_interfaces_from_a_host_are_fit_for_any_form() -> None:
    """The kernel lets an interface be called almost anything; all forms stay whole."""
    whole = (WIRING / "modes-trixie.out").read_text()
    evil = json.dumps("""e"<&>\\'#\x1b""")[1:-1]
    found = replace(
        seen(), topologies={"h1": parse("h1", whole.replace("host0", evil))}, hosts=("h1",)
    )
    drawn = drawing(found)
    name = """e"<&>\\'#?"""
    assert name in {node.lines[0] for node in drawn.hosts[0].nodes}
    root = ElementTree.fromstring(svg(drawn))
    assert name in [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert dot_string(name) == '"e\\"<&>\\\\\'#?"'
    assert dot_string(name)[:-1] in FORMATS["dot"](drawn)
    assert "e#34;#60;#38;#62;#92;#39;#35;#63;" in FORMATS["mermaid"](drawn)


def test_each_form_quotes() -> None:
    """Whatever a drawing holds, quotes end where they should."""
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', dot_string(HOSTILE, HOSTILE))
    assert re.fullmatch(r'"(?:[\w ._:/()→,-]|#\d+;|<br/>)*"', mermaid_string(HOSTILE, HOSTILE))
    root = ElementTree.fromstring(svg(replace(drawing(seen()), title="</title><script>")))
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "</title><script>"


@given(st.text())
def test_any_word_survives_each_form(said: str) -> None:
    """Once it is fit for a terminal, XML gives it back, and no quote ends early."""
    word = printable(said)
    node = GraphNode("h1_1", "nic", (f"x{word}",))
    drawn = Drawing("t", (HostGraph("h1", "10.0.0.1", (node,)),), ())
    root = ElementTree.fromstring(svg(drawn))
    assert f"x{word}" in [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    quoted = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', dot_string(word))
    assert quoted and re.sub(r"\\(.)", r"\1", quoted[1]) == word
    told = mermaid_string(word)
    assert not re.search(r"[\"<>&`|\[\]{}\\]", told[1:-1])
    assert re.sub(r"#(\d+);", lambda code: chr(int(code[1])), told) == f'"{word}"'


# Geometry: what must hold however many things are drawn.


def fleet(hosts: int, containers: int, *, checked: bool = False) -> Drawing:
    """Hosts with two NICs, two bridges, a tunnel, and containers of one to three interfaces."""
    machines = []
    for n in range(1, hosts + 1):
        nodes = [GraphNode(f"h{n}_{k}", "nic", (f"eth{k}", f"10.{k}.0.{n}/24")) for k in (1, 2)]
        nodes += [
            GraphNode(f"h{n}_b{k}", "bridge", (f"br-{k}-abcdefghi (blue)", f"172.2{k}.{n}.1/24"))
            for k in (1, 2)
        ]
        nodes.append(GraphNode(f"h{n}_t", "tunnel", ("flannel.1 (vxlan)", f"172.16.{n}.0/32")))
        edges = [Edge(f"h{n}_2", f"h{n}_b2", "port"), Edge(f"h{n}_t", f"h{n}_b1", "port")]
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
            if c % 2:
                edges.append(Edge(f"h{n}_c{c - 1}", f"h{n}_c{c}", "shares"))
        machines.append(HostGraph(f"host-{n}", f"10.1.0.{n}", tuple(nodes), tuple(edges)))
    names = range(1, hosts + 1)
    lans = tuple(
        Lan(f"lan{k}", IPv4Network(f"10.{k}.0.0/24"), tuple(f"h{n}_{k}" for n in names))
        for k in (1, 2)
    )
    return Drawing("demo", tuple(machines), lans, checked)


Edges = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def of_word(word: Label) -> Edges:
    return word.x, word.y - 10, word.x + word.width, word.y + 3


def of_box(box: Box) -> Edges:
    return box.x, box.y, box.x + box.width, box.y + box.height


def apart(one: Edges, other: Edges) -> bool:
    return (
        one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    )  # fmt: skip


def inside(one: Edges, other: Edges) -> bool:
    return other[0] <= one[0] and other[1] <= one[1] and one[2] <= other[2] and one[3] <= other[3]


def strokes(drawn: Picture) -> Iterator[tuple[str, Edges]]:
    for path in drawn.paths:
        for (ax, ay), (bx, by) in itertools.pairwise(path.points):
            assert ax == bx or ay == by
            yield path.style, (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def faults(drawn: Picture) -> list[str]:
    """Whatever makes a picture hard to read."""
    bands = [of_box(box) for box in drawn.boxes if box.style.startswith("host")]
    boxes = [of_box(box) for box in drawn.boxes if not box.style.startswith("host")]
    words = [(word.text, of_word(word)) for word in drawn.labels]
    paper = (0.0, 0.0, drawn.width, drawn.height)
    bad = [
        f"{a[0]} on {b[0]}" for a, b in itertools.combinations(words, 2) if not apart(a[1], b[1])
    ]
    bad += [f"{a} on {b}" for a, b in itertools.combinations(boxes, 2) if not apart(a, b)]
    bad += [f"{a} on {b}" for a, b in itertools.combinations(bands, 2) if not apart(a, b)]
    for said, place in words:
        bad += [f"{said} on the edge of {box}" for box in (*boxes, *bands)
                if not apart(place, box) and not inside(place, box)]  # fmt: skip
        bad += [f"{said} is off the paper"] if not inside(place, paper) else []
    for style, stroke in strokes(drawn):
        thin = (stroke[0] + 0.5, stroke[1] - 0.1, stroke[2] - 0.5, stroke[3] + 0.1)
        bad += [f"{style} through {text}" for text, place in words if not apart(thin, place)]
        bad += [f"{style} through {box}" for box in boxes if not apart(thin, box)]
    return bad


@pytest.mark.parametrize(("hosts", "containers"), [(1, 1), (3, 4), (5, 12), (2, 0)])
def test_nothing_overlaps(hosts: int, containers: int) -> None:
    """Words, boxes and lines keep apart, on paper that holds them all."""
    assert faults(picture(fleet(hosts, containers, checked=True))) == []


def test_nothing_overlaps_on_real_hosts() -> None:
    """And with a host that is lost."""
    assert faults(picture(drawing(seen()))) == []
    lost = seen(Captured(h2=ConnectError("h2", "no route to host " * 9)))
    assert faults(picture(drawing(lost, read(verdict_json(), "x")))) == []


def test_the_faults_would_be_found() -> None:
    """The check of the layout can fail: two words, a word on an edge, a line through a box."""
    drawn = picture(fleet(3, 4))
    word = drawn.labels[5]
    for spoilt in (
        replace(drawn, labels=[*drawn.labels, replace(word, x=word.x + 3)]),
        replace(drawn, boxes=[*drawn.boxes, replace(drawn.boxes[-1], y=drawn.boxes[3].y)]),
        replace(
            drawn, paths=[replace(drawn.paths[0], points=((0, word.y - 4), (900, word.y - 4)))]
        ),
    ):
        assert faults(spoilt)


# Colours.


def test_colours_follow_a_verdict() -> None:
    """Failed, passed and unchecked containers, their pairs, and a network that drifted."""
    drawn = drawing(seen(), read(verdict_json(failed="web1"), "v.json"))
    nodes = {
        (machine.name, node.lines[0].split(" ")[0]): node.verdict
        for machine in drawn.hosts
        for node in machine.nodes
    }
    assert nodes["h1", "web1"] == nodes["h1", "net1"] == "failed"
    assert nodes["h2", "net2"] == nodes["h3", "site"] == "ok"
    assert nodes["h1", "bare1"] == nodes["h2", "bare2"] == ""
    assert nodes["h3", "br-blue-5x57ni"] == "failed" and nodes["h2", "br-blue-5x57ni"] == ""
    assert [machine.verdict for machine in drawn.hosts] == ["", "", "failed"]
    pairs = {edge.target: edge.verdict for edge in drawn.hosts[0].edges if edge.kind == "veth"}
    assert set(pairs.values()) == {"failed"}
    assert "web1 (bridge), eth0 172.17.0.2/16" in text(drawn) and "[failed]" in text(drawn)
    assert 'class="container failed"' in svg(drawn) and "its checks passed" in svg(drawn)
    assert "its checks passed" not in svg(drawing(seen()))


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"checks": 3, "drift": []}', "[" * 100_000])
def test_what_is_no_verdict_is_refused(said: str) -> None:
    """By name, and with the command that makes one."""
    with pytest.raises(UsageError, match=r"v\.json"):
        read(said, "--verify v.json")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "x.pdf"), "the suffix belongs to no format"),
        (("--verify", "none.json"), "none.json"),
        (("--format", "png"), "png"),
        (("--json",), "provision show --json"),
    ],
)
def test_graph_refuses_before_it_asks_a_host(words: tuple[str, ...], told: str) -> None:
    """Status 2: no host of the inventory could answer, and none is asked."""
    program = Path(sys.executable).with_name("provision")
    argv = (str(program), "graph", str(WIRING / "inventory.yml"), *words)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert told in done.stdout + done.stderr

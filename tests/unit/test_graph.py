"""`graph` draws how packets travel between hosts, for each kind of method.

The hosts are captures of applied examples from tests/probes/graph; their `verify` passed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from provision.facts.topology_probe import parse
from provision.inventory.load import load
from provision.show.graph.draw import drawing
from provision.show.graph.formats import FORMATS, text
from provision.show.graph.layout import picture
from provision.show.graph.model import Drawing
from provision.show.view import View
from tests.graph_paths import path

FOLDER = Path(__file__).parents[1] / "probes/graph"
METHODS = sorted(folder.name for folder in FOLDER.iterdir())
Change = tuple[str, str, str]
"""A host, text of its capture, and the text in place of it."""


@cache
def view_of(method: str, *changes: Change) -> View:
    """The view of a method's three hosts, with changes to what they printed."""
    inventory = load(FOLDER / method / "inventory.yml")
    topologies = {}
    for host in inventory.hosts:
        output = (FOLDER / method / f"{host}.out").read_text()
        for _, old, new in (change for change in changes if change[0] == host):
            assert old in output, old
            output = output.replace(old, new)
        topologies[host] = parse(host, output)
    return View(inventory, tuple(inventory.hosts), topologies, ())


def graph_of(method: str, *changes: Change) -> dict[str, Any]:
    """The JSON of the graph of such hosts."""
    graph: dict[str, Any] = json.loads(FORMATS["json"](drawing(view_of(method, *changes))))
    return graph


def containers(method: str) -> tuple[str, ...]:
    return tuple(view_of(method).inventory.containers)


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_of_each_kind_of_method(method: str, request: pytest.FixtureRequest) -> None:
    """The golden files have tunnels with their peers, routes, bridges and the LAN."""
    golden, drawn = FOLDER / method / "graph.txt", text(drawing(view_of(method)))
    if request.config.getoption("update_goldens"):
        golden.write_text(drawn)
    assert drawn == golden.read_text()


@pytest.mark.parametrize("method", METHODS)
def test_containers_that_reach_each_other_are_connected(method: str) -> None:
    """By nodes of both hosts; nothing in the graph is down or broken."""
    graph = graph_of(method)
    for source, target in permutations(containers(method), 2):
        names = path(graph, source, target)
        assert names[0] == source and names[-1] == target and len(names) > 2, graph
    drawn = text(drawing(view_of(method)))
    assert "DOWN" not in drawn and "BROKEN" not in drawn
    assert all(edge["up"] for edge in graph["edges"])


@pytest.mark.parametrize("method", METHODS)
def test_only_networks_of_nics_are_lans(method: str) -> None:
    """The range of an overlay is not a LAN, though bridges of all hosts have addresses in it."""
    lans = {str(lan.network): len(lan.nics) for lan in drawing(view_of(method)).lans}
    assert lans == {"10.95.0.0/24": 3, "10.96.0.0/24": 3}


BROKEN = {
    "the tunnel port was deleted": (
        "ovs-gre", "g1", "g2", ("h1", '"remote_ip","10.96.0.12"', '"remote_ip","10.96.0.99"')),
    "the peer has no tunnel back": (
        "ovs-gre", "g1", "g2", ("h2", '"remote_ip","10.96.0.11"', '"remote_ip","10.96.0.99"')),
    "the keys differ": (
        "ovs-gre", "g1", "g2", ("h1", '[["local_ip",', '[["key","9"],["local_ip",')),
    "ovs-vswitchd does not run": (
        "ovs-gre", "g1", "g2", ("h1", "ovs_bridges", "ovs_error ovs-vswitchd does not run\n"
                                                     "ovs_bridges")),
    "the forwarding entry is missing": (
        "vxlan", "w1", "w2", ("h1", "dst 10.96.0.12", "dst 10.96.0.99")),
    "the route is missing": (
        "flannel-vxlan", "c1", "c2", ("h1", '"dst":"172.16.1.0/24"', '"dst":"172.16.77.0/24"')),
    "flanneld forgot the peer": (
        "flannel-vxlan", "c1", "c2", ("h1", "dst 10.96.0.12", "dst 10.96.0.99")),
    "the NIC has no carrier": (
        "pipework-ovs", "o1", "o2", ("h1", '"ifname":"eth1","flags":["BROADCAST",',
                                           '"ifname":"eth1","flags":["NO-CARRIER","BROADCAST",')),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_connection_is_no_path(case: str) -> None:
    """And it is marked in the text, unless the other end is missing there."""
    method, source, target, change = BROKEN[case]
    assert path(graph_of(method), source, target)
    assert path(graph_of(method, change), source, target) == []


def test_a_tunnel_without_its_other_end_is_marked() -> None:
    """In its line, and so is the tunnel of a host whose daemon ended."""
    change = ("h2", '"remote_ip","10.96.0.11"', '"remote_ip","10.96.0.99"')
    drawn = text(drawing(view_of("ovs-gre", change)))
    assert drawn.count("BROKEN") == 1 and "→ h2 10.96.0.12 BROKEN" in drawn
    stopped = ("h1", "ovs_bridges", "ovs_error ovs-vswitchd does not run\novs_bridges")
    drawn = text(drawing(view_of("ovs-gre", stopped)))
    assert "h1 10.96.0.11: ovs-vswitchd does not run\n" in drawn
    assert "bridge ov-tun-h4afpi (Open vSwitch) DOWN" in drawn
    assert drawn.count("BROKEN") == 4, drawn


def test_bridges_in_a_circle_are_drawn_once() -> None:
    """Two veth pairs between two bridges, one in each direction."""
    drawn = drawing(view_of("ovs-gre"))
    host = drawn.hosts[0]
    (pair,) = [edge for edge in host.edges if edge.kind == "veth" and "═" in edge.label]
    back = replace(pair, source=pair.target, target=pair.source, label="back ═ forth")
    circle = Drawing("t", (replace(host, edges=(*host.edges, back)),), ())
    lines = text(circle).splitlines()
    assert len([line for line in lines if "tunnel gre-h2" in line]) == 1
    assert {"nic host0", "bridge ov-tun-h4afpi"} <= {
        f"{kind} {node.lines[0].split()[0]}" for node in host.nodes for kind in (node.kind,)
    }
    assert any("back ═ forth" in line for line in lines)


@pytest.mark.parametrize("method", METHODS)
def test_every_edge_of_a_picture_leads_to_boxes(method: str) -> None:
    """Each edge of a host is drawn, and ends at the boxes of its nodes."""
    drawn = drawing(view_of(method))
    edges = sum(len(host.edges) for host in drawn.hosts)
    lans = sum(len(lan.nics) + 1 for lan in drawn.lans)
    assert len(picture(drawn).paths) == edges + lans


def on_vlan(output: str) -> str:
    """The same host, whose first container has a macvlan on a VLAN of eth1."""
    lines = output.splitlines()
    nets = [line.split()[3] for line in lines if line.startswith("spaces ")]
    inner = next(net for net in nets[1:] if net != nets[0])
    up: dict[str, Any] = {"flags": ["UP", "LOWER_UP"], "mtu": 1500, "addr_info": []}
    vlan = {"ifindex": 900, "ifname": "eth1.5", "link": "eth1", **up}
    vlan["linkinfo"] = {"info_kind": "vlan", "info_data": {"id": 5}}
    macvlan = {"ifindex": 901, "ifname": "mv0", "link_index": 900, **up}
    macvlan["linkinfo"] = {"info_kind": "macvlan"}
    for number, line in enumerate(lines):
        key, _, rest = line.partition(" ")
        net, _, links = rest.partition(" ")
        if key == "links" and net in (nets[0], inner):
            more = vlan if net == nets[0] else macvlan
            lines[number] = f"links {net} {json.dumps([*json.loads(links), more])}"
    return "\n".join(lines) + "\n"


def test_a_container_on_a_vlan_of_a_nic_leaves_by_the_nic() -> None:
    """As `interfaces: [{macvlan: eth1, vlan: 5}]` makes it: the NIC leads to the LAN."""
    view = view_of("vxlan")
    outputs = {host: on_vlan((FOLDER / "vxlan" / f"{host}.out").read_text()) for host in view.hosts}
    topologies = {host: parse(host, output) for host, output in outputs.items()}
    drawn = drawing(View(view.inventory, view.hosts, topologies, ()))
    graph = json.loads(FORMATS["json"](drawn))
    for node in graph["nodes"]:  # without the overlay, only the VLAN leads to the peers
        node["up"] = node["up"] and node["kind"] not in ("tunnel", "route")
    names = path(graph, "w1", "w2")
    assert names == ["w1", "eth1.5", "eth1", "10.96.0.0/24", "eth1", "eth1.5", "w2"]
    assert "nic eth1, 10.96.0.11/24\n│  └─ nic eth1.5\n│     └─ macvlan ═ mv0 of w1" in text(drawn)
    edges = sum(len(host.edges) for host in drawn.hosts)
    assert len(picture(drawn).paths) == edges + sum(len(lan.nics) + 1 for lan in drawn.lans)

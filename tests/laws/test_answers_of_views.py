"""Laws: whatever hosts answer to `explain`, `show`, `graph` and `doctor`, no answer is a traceback.

tests/laws/test_parsers.py holds the same for what plans and changes read.
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision import methods
from provision.checks.doctor import examine
from provision.checks.doctor import probe as doctor_probe
from provision.checks.explain.explain import explain
from provision.checks.explain.model import Explanation, Probe
from provision.checks.explain.words import lines
from provision.engine.bridge_subnets import with_bridge_subnets
from provision.engine.fleet import Fleet, Session
from provision.facts import gather, topology_probe
from provision.inventory.load import load
from provision.model.errors import ConnectError, FactsError
from provision.model.inventory import Inventory
from provision.model.reading import reading
from provision.show.graph.draw import drawing
from provision.show.graph.formats import FORMATS
from provision.show.shape import shape
from provision.show.tables import tables, warnings
from provision.show.text import plain
from provision.show.view import View
from tests.fakes import Hosts
from tests.house.test_structure import ROOT
from tests.laws.test_parsers import STEMS, TOPOLOGIES, answer, captured, inventory_of, mutated
from tests.probes.test_captured import INVENTORIES, PROBES
from tests.unit import test_bgp, test_doctor, test_vxlan_evpn, test_wireguard
from tests.unit.test_explain import CAPTURES, Replay
from tests.unit.test_flannel import GOOD, leases_json

FOLDER = Path(mkdtemp())
GONE = (ConnectError("h2", "unreachable"),)


@cache
def inventory(text: str) -> Inventory:
    """The inventory with this text."""
    path = FOLDER / "inventory.yml"
    path.write_text(text)
    return load(path)


def explained(capture: dict[str, Any]) -> Explanation:
    """The explanation of a capture."""
    protocol, _, port = capture["probe"].partition(" ")
    asked = inventory(capture["inventory"])
    session = Session(asked, Replay(capture["runs"]))
    probe = Probe(protocol, int(port or 0))
    return explain(session, asked, capture["from"], capture["to"], probe)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CAPTURES), st.data(), st.integers(0, 2**32))
def test_any_evidence_is_judged_or_is_the_hosts_problem(
    path: Path, data: st.DataObject, seed: int
) -> None:
    """One answer of one host is odd; `explain` still says something, or names the host."""
    capture = json.loads(path.read_text())
    host = data.draw(st.sampled_from(sorted(capture["runs"])))
    outputs = capture["runs"][host]
    output = outputs[data.draw(st.integers(0, len(outputs) - 1))]
    output[1] = mutated(output[1], seed)
    try:
        explanation = explained(capture)
    except FactsError as error:
        assert error.host in capture["runs"] and error.message.isprintable()
        return
    assert list(lines(explanation)) and json.dumps(explanation.as_json())


def capture_of(name: str) -> Any:
    """The capture of a fault."""
    return json.loads(next(path for path in CAPTURES if path.stem == name).read_text())


def test_a_host_whose_evidence_cannot_be_read_has_an_error() -> None:
    """The rest is judged: h1 shows where it has seen the packet."""
    capture = capture_of("healthy-routes")
    capture["runs"]["h2"][-1][1] = "frame 1 2\nwatched\n"
    explanation = explained(capture)
    assert "observations of the packet cannot be read" in explanation.errors["h2"].message
    assert explanation.reached and explanation.exit_status == 4
    assert any(hop.seen for hop in explanation.hops)


def test_a_host_whose_evidence_cannot_be_judged_is_left_out() -> None:
    """`ip` of h2 prints a list of numbers as the answer to a look-up."""
    capture = capture_of("routes-policy-drop")
    outputs = capture["runs"]["h2"][-1]
    changed = [
        f"{line.partition('[')[0]}[7]" if " lookup " in line else line
        for line in outputs[1].splitlines()
    ]
    assert changed != outputs[1].splitlines()
    outputs[1] = "\n".join(changed)
    explanation = explained(capture)
    assert explanation.errors.keys() == {"h2"}


STATUSES = ("bgp", "vxlan", "wireguard", "flannel")


@cache
def status_of(method: str) -> tuple[Inventory, str]:
    """An inventory with a network of a method, and what its h1 prints of it."""
    if method == "bgp":
        asked = test_bgp.example(FOLDER)
        return asked, test_bgp.answers(test_bgp.ROUTES, **test_bgp.UP)
    if method == "vxlan":
        return test_vxlan_evpn.example(FOLDER), test_vxlan_evpn.answers("h1")
    if method == "wireguard":
        asked = inventory((ROOT / "inventories/wireguard.yml").read_text())
        text = test_wireguard.STATUS.format(**test_wireguard.RIGHT)
        return asked, text.replace("private", next(iter(asked.networks)))
    asked = inventory((ROOT / "inventories/flannel-vxlan.yml").read_text())
    network = next(iter(asked.networks))
    health = f"health {network} https://10.78.0.11:2379 is healthy: took = 1ms"
    certificates = (ROOT / "tests/probes/certificate/flannel-trixie.txt").read_text()
    return asked, f"etcd {network} {leases_json(GOOD)}\n{health}\n{certificates}"


@pytest.mark.parametrize("method", STATUSES)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_status_is_shown_or_is_the_hosts_problem(method: str, seed: int) -> None:
    """Of each method that asks its hosts."""
    asked, text = status_of(method)
    text = "".join(
        f"{methods._STATUS} {method} {line}\n" for line in mutated(text, seed).splitlines()
    )
    try:
        with reading("h1", "networks", text):
            statuses = methods.parse_statuses(asked, "h1", text)
    except FactsError:
        return
    by_method = {name: {"h1": status} for name, status in statuses.items()}
    state = View(asked, ("h1",), {}, (), by_method)
    assert json.dumps(shape(state)) and plain(tables(state))


def test_statuses_are_those_of_all_methods() -> None:
    """A method that asks its hosts comes with an example here."""
    asking = {
        name
        for name in methods.names()
        if type(methods.named(name)).parse_status is not methods.Method.parse_status
    }
    assert asking == set(STATUSES)
    for method in STATUSES:
        asked, text = status_of(method)
        marked = "".join(f"{methods._STATUS} {method} {line}\n" for line in text.splitlines())
        assert "no answer" not in str(methods.parse_statuses(asked, "h1", marked)[method])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.integers(0, 2**32))
def test_any_topology_is_drawn_or_is_the_hosts_problem(path: Path, seed: int) -> None:
    """As tables, JSON and in each format of `graph`, beside a host that did not answer."""
    try:
        topology = topology_probe.parse("h1", mutated(path.read_text(), seed))
    except FactsError:
        return
    asked = with_bridge_subnets(status_of("bgp")[0], {"h1": topology})
    state = View(asked, ("h1", "h2"), {"h1": topology}, GONE)
    assert json.dumps(shape(state)) and plain(tables(state))
    list(warnings(state))
    for draw in FORMATS.values():
        assert draw(drawing(state))


def test_a_route_to_no_range_is_the_hosts_problem() -> None:
    """A drawing tells which host a route leads to, and so has to know its addresses."""
    text = TOPOLOGIES[0].read_text()
    odd = text.replace('"dst":"default"', '"dst":"ä"')
    assert odd != text
    with pytest.raises(FactsError, match="h1: its topology cannot be read"):
        topology_probe.parse("h1", odd)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STEMS), st.integers(0, 2**32))
def test_any_answer_to_the_doctor_is_judged(stem: str, seed: int) -> None:
    """What cannot be read is a finding of its own."""
    asked = inventory_of(stem)
    (host, *_) = asked.hosts
    sections = captured(stem) | {"doctor": mutated(test_doctor.ANSWER, seed)}
    probes = (*PROBES.values(), doctor_probe.probe())
    name = INVENTORIES[stem.split("-")[0]]
    try:
        snapshot = gather.parse(host, name, answer(sections), nonce="n0", probes=probes)
    except FactsError as error:
        assert error.host == host and error.message.isprintable()
        return
    fleet = Fleet({host: snapshot})
    assert examine._findings(Session(asked, Hosts()), fleet, (host,), time.time())


def test_a_line_that_is_no_rule_is_no_traceback() -> None:
    """The doctor names the command that deletes a rule of iptables."""
    answered = doctor_probe.parse(test_doctor.ANSWER.replace("-A FORWARD -j DROP", "FORWARD"))
    assert "no rule of iptables" in answered.unreadable

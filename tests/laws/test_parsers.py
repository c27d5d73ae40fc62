"""Laws: whatever a host prints, it is read, or it is the host's own problem; never a traceback."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.checks import probe as check_probe
from provision.checks import wire
from provision.engine import preflight
from provision.engine.fleet import Fleet, Session, difference
from provision.engine.plan import operations, waves
from provision.engine.records import read_records, readable_records
from provision.engine.undo import inverse
from provision.facts import gather, topology_probe
from provision.facts.gather import HostSnapshot
from provision.inventory.load import load
from provision.methods.flannel import etcd_checks
from provision.model.errors import FactsError, ProvisionError
from provision.model.inventory import Inventory
from provision.model.reading import reading
from provision.resources import kinds, script
from provision.resources.base import ABSENT, Origin
from provision.resources.kinds.docker0 import DAEMON_JSON, Docker0
from provision.resources.steps import Issue, Run, Steps
from provision.transport.base import Output
from tests.fakes import HOST, Hosts
from tests.probes.test_captured import FOLDER, HOSTS, INVENTORIES, PROBES

KINDS = [kind.kind for kind in kinds.all_kinds()]
SECTIONS = ["host", *KINDS, *PROBES]
STEMS = sorted({path.stem for path in FOLDER.glob("*/*.txt") if path.parent.name in KINDS})
TOPOLOGIES = sorted((FOLDER / "wiring").glob("*.out"))
ODD_JSON = [None, True, -1, 0, 2**70, 1.5, "", "x", [], {}, [None], {"a": None}, "::1", "\0", "ä"]
ODD_TEXT = [
    "",
    " ",
    "\0",
    "{",
    "[[",
    "-1",
    "9" * 5000,
    "null",
    "[]",
    "{}",
    "'",
    '"',
    "\x1b[31m",
    "@@",
]


def mutated(text: str, seed: int) -> str:
    """A captured answer with one or two accidents: of a line, a character, a value in JSON."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 2))):
        text = chance.choice((_line, _cut, _garbage, _value, _value, _value))(text, chance)
    return text


def _line(text: str, chance: random.Random) -> str:
    """A line is lost, doubled, or moved to the end."""
    lines = text.splitlines() or [""]
    k = chance.randrange(len(lines))
    line = lines.pop(k)
    return "\n".join(lines + [line] * chance.choice((0, 1, 2)))


def _cut(text: str, chance: random.Random) -> str:
    """The text ends early, or a part of it is missing."""
    a, b = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    return text[:a] if chance.random() < 0.5 else text[:a] + text[b:]


def _garbage(text: str, chance: random.Random) -> str:
    """Something else stands in place of a word."""
    words = re.split(r"(\W)", text)
    words[chance.randrange(len(words))] = chance.choice(ODD_TEXT)
    return "".join(words)


def _value(text: str, chance: random.Random) -> str:
    """One value of a JSON document is of another type, or one key is missing."""
    lines = text.splitlines()
    found = [k for k, line in enumerate(lines) if re.search(r"[\[{]", line)]
    if not found:
        return _garbage(text, chance)
    k = chance.choice(found)
    start = min(lines[k].find(c) % 10**9 for c in "[{")
    try:
        document = json.loads(lines[k][start:])
    except ValueError:
        return _garbage(text, chance)
    lines[k] = lines[k][:start] + json.dumps(_changed(document, chance))
    return "\n".join(lines)


def _changed(node: Any, chance: random.Random) -> Any:
    children = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not children:
        return chance.choice(ODD_JSON)
    key = chance.choice(children)
    if isinstance(node[key], dict | list) and chance.random() < 0.85:
        node[key] = _changed(node[key], chance)
    elif isinstance(node, dict) and chance.random() < 0.3:
        del node[key]
    else:
        node[key] = chance.choice(ODD_JSON)
    return node


def answer(sections: dict[str, str]) -> Output:
    """What a host prints for a snapshot with these sections; others say `absent`."""
    every = {"shared": "", "host": HOST} | dict.fromkeys(KINDS, ABSENT) | sections
    lines = [f"@n0 begin {name}\n{text}\n@n0 end {name} 0" for name, text in every.items()]
    return Output(0, "\n".join(lines), "")


def captured(stem: str) -> dict[str, str]:
    """Every section of one host; what was not captured there comes from another of its suite."""
    suite, result = stem.split("-")[1], {}
    for name in SECTIONS:
        own = FOLDER / name / f"{stem}.txt"
        others = sorted((FOLDER / name).glob(f"*-{suite}.txt"))
        result[name] = (own if own.is_file() else others[0]).read_text().strip()
    return result


def host_of(stem: str) -> str:
    inventory, suite = stem.split("-")
    return HOSTS[suite] if inventory == "flannel" else "host"


@cache
def inventory_of(stem: str) -> Inventory:
    """An inventory that wants something else on the host of a capture."""
    data = {
        "name": INVENTORIES[stem.split("-")[0]],
        "hosts": {host_of(stem): {"address": "10.78.0.11"}, "other": {"address": "10.78.0.99"}},
        "networks": {
            "blue": {"method": "vxlan", "cidr": "172.20.0.0/16"},
            "lan": {"method": "pipework", "cidr": "10.78.0.0/24", "pool": "10.78.0.224/28"},
            "tun": {"method": "ovs-gre", "cidr": "172.30.0.0/16"},
            "old": {"method": "routes", "cidr": "172.31.0.0/16"},
        },
        "containers": {"web": {"host": host_of(stem), "network": "blue"}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "inventory.yml")
        path.write_text(json.dumps(data))
        return load(path)


def read(stem: str, sections: dict[str, str]) -> HostSnapshot | None:
    """The snapshot; None where the host's answer is an error, which names the host."""
    name = INVENTORIES[stem.split("-")[0]]
    try:
        output, probes = answer(sections), PROBES.values()
        return gather.parse(host_of(stem), name, output, nonce="n0", probes=probes)
    except FactsError as error:
        assert error.host == host_of(stem) and error.message.isprintable(), error.message
        return None


def rendered(steps: Steps) -> None:
    if not any(isinstance(step, Issue) for step in steps):
        script.render([steps], nonce="n0", lock="/run/lock")


def planned(inventory: Inventory, snapshot: HostSnapshot) -> None:
    """Make both plans, and every script of them: odd values must not come so far."""
    session = Session(inventory, Hosts())
    fleet = Fleet({snapshot.facts.host: snapshot})
    preflight.problems(inventory, fleet.facts)
    for destroy in (True, False):
        try:
            plan = difference(session, fleet, [snapshot.facts.host], destroy=destroy)
        except ProvisionError:
            continue
        if plan.conflicts:
            continue
        todo = operations(plan, txn="0a")
        waves(todo)
        for operation in todo:
            rendered(inverse(operation, txn="0a"))
            if destroy:
                rendered(operation.steps)


@pytest.mark.parametrize("stem", STEMS)
def test_captures_are_read_and_planned(stem: str) -> None:
    """Unchanged captures pass: otherwise the law below would hold for nothing."""
    snapshot = read(stem, captured(stem))
    assert snapshot is not None
    planned(inventory_of(stem), snapshot)


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(STEMS), st.sampled_from(SECTIONS), st.integers(0, 2**32))
def test_any_answer_is_read_or_is_the_hosts_problem(stem: str, section: str, seed: int) -> None:
    sections = captured(stem)
    sections[section] = mutated(sections[section], seed)
    if snapshot := read(stem, sections):
        planned(inventory_of(stem), snapshot)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TOPOLOGIES), st.integers(0, 2**32))
def test_any_topology_is_read_or_is_the_hosts_problem(path: Path, seed: int) -> None:
    try:
        topology_probe.parse("h1", mutated(path.read_text(), seed))
    except FactsError as error:
        assert error.host == "h1" and error.message.isprintable()


RECORD = "record txn\tab12\t1\t2\t\t\t\t{}\t\t3\n"
ANSWERS: dict[str, tuple[Callable[[str], object], str]] = {
    "records": (readable_records, RECORD),
    "outcomes": (
        lambda text: script.read(text, nonce="n0", count=2),
        "@n0 begin 0 0 1732600000.5\nout\n@n0 end 0 0 1732600001.25\n@n0 begin 1 0 17.5\n",
    ),
}
"""Parsers that leave out what they cannot read: every host's answer ends there."""


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_answers_of_a_change_never_end_a_run(name: str, seed: int) -> None:
    parser, text = ANSWERS[name]
    parser(mutated(text, seed))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_record_that_cannot_be_read_is_the_hosts_problem(seed: int) -> None:
    assert len(read_records("h1", RECORD)) == 1
    try:
        read_records("h1", mutated(RECORD, seed))
    except FactsError as error:
        assert error.host == "h1" and error.message.isprintable()


CHECKS: dict[str, tuple[Callable[[str], object], str]] = {
    "listeners": (check_probe.parse_listeners, "listen web 4711 99 tcp/80 udp/53\n"),
    "answers": (check_probe.parse_answers, "answer ping a b 0 0.3 ms\n"),
    "frames": (
        wire.parse,
        "frame eth1 in vxlan 4789 10.0.0.1 10.0.0.2 172.20.0.2 172.20.1.2 3\nlost 0\n",
    ),
    "etcd": (
        etcd_checks.parse,
        'etcd over {"kvs":[{"key":"L2E=","value":"e30="}]}\nhealth over x\n',
    ),
}


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_answers_of_checks_are_the_hosts_problem(name: str, seed: int) -> None:
    parser, text = CHECKS[name]
    try:
        with reading("h1", name, text):
            parser(mutated(text, seed))
    except FactsError:
        pass


NETWORKS_WITHOUT_BRIDGE = re.compile(r'"Name": ?"bridge"')


@pytest.mark.parametrize("suite", ["bookworm", "trixie", "sid"])
def test_a_docker_without_a_default_bridge_is_read(suite: str) -> None:
    """With `"bridge": "none"` in daemon.json, `GET /networks` has no network `bridge`.

    What was applied before can still be destroyed.
    """
    text = (FOLDER / "docker0" / f"docker0-{suite}.txt").read_text()
    text = NETWORKS_WITHOUT_BRIDGE.sub('"Name":"blue"', text)
    (entry,) = Docker0.parse(text, Origin("h1", "classic"))
    assert isinstance(entry.resource, Docker0)
    assert entry.ours and entry.resource.effective == ()
    stem = f"docker0-{suite}"
    snapshot = read(stem, captured(stem) | {"docker0": text})
    assert snapshot is not None
    planned(inventory_of(stem), snapshot)
    session = Session(inventory_of(stem), Hosts())
    plan = difference(session, Fleet({"host": snapshot}), ["host"], destroy=True)
    assert not plan.conflicts
    assert ("docker0", "delete") in {(change.ref.kind, change.verb) for change in plan.changes}


def test_a_setting_of_others_that_stops_dockerd_does_not_stay_beside_ours() -> None:
    """`"bridge": "none"` written after our first change goes at the next apply."""
    text = '{"bridge": "none", "log-level": "warn", "bip": "172.20.0.1/24"}'
    settings = (("bip", '"172.20.0.1/24"'),)
    before = Docker0("h1", settings, (), "demo", text=text, original_text='{"log-level": "warn"}')
    after = Docker0("h1", settings, (("subnet", "172.20.0.0/24"),), "demo")
    (daemon_json,) = (
        json.loads(step.stdin or "")
        for step in after.update(before)
        if isinstance(step, Run) and step.stdin is not None and DAEMON_JSON in step.argv
    )
    assert daemon_json == {"log-level": "warn", "bip": "172.20.0.1/24"}

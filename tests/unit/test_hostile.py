"""Output of a hostile host is only data, or an error of that host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.cli import show
from provision.engine import apply, desired, fleet, report
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import CONFIRMED
from provision.engine.plan_text import plan_lines
from provision.engine.records import readable_records
from provision.engine.status import describe, recorded_outcome
from provision.facts.topology import HostTopology, NetNamespace
from provision.model.errors import FactsError, HostError
from provision.model.terminal import printable
from provision.show.view import View
from tests.fakes import HOST, KINDS, Hosts, Toy, inventory

PAYLOADS = [
    "{{ 7*7 }}",
    "{% include '/etc/passwd' %}",
    "$(touch evil)",
    "`touch evil`",
    "'; touch evil; '",
    "../../../../tmp/evil",
    "\x1b]0;evil\x07\x1b[2J",
    "\u202egnp.exe",
    "-oProxyCommand=touch evil",
    "\ufffd\ufffd",
    "[" * 5000,
    "9" * 10_000,
]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hosts:
    """Fake hosts for an inventory that desires nothing; the test's folder is empty."""
    kinds = tuple(KINDS[name] for name in sorted(KINDS))
    monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
    monkeypatch.setattr(desired, "wanted", lambda _inventory, _facts: {})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Hosts()


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_the_name_of_a_resource_is_only_text(hosts: Hosts, payload: str, tmp_path: Path) -> None:
    """Scripts quote the name, and the terminal shows it escaped."""
    session = Session(inventory("h1"), hosts)
    toy = Toy("h1", payload.replace("\n", " "), payload)
    hosts.toys[toy.ref] = toy
    preview = apply.preview(session, ("h1",), destroy=True)
    lines = [printable(line) for line in plan_lines(preview)]
    assert all(line.isprintable() for line in lines)
    json.dumps(report.plan_json(preview))
    destroyed = apply.converge(session, ("h1",), ApplyOptions(destroy=True))
    assert destroyed.outcomes == {"h1": CONFIRMED}
    assert hosts.toys == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
@pytest.mark.parametrize("field", ["docker_info", "addresses", "routes", "way", "uid", "ssh"])
def test_malformed_facts_are_an_error_of_that_host(
    hosts: Hosts, field: str, payload: str, tmp_path: Path
) -> None:
    """Or they are plain text. The other host has its facts, and no file is written."""
    session = Session(inventory("h1", "h2"), hosts)
    hosts.facts = {"h2": f"{HOST}\n{field} {payload}"}
    observed = fleet.observe(session, ("h1", "h2"))
    assert "h1" in observed.snapshots
    for error in observed.errors.values():
        assert isinstance(error, FactsError | HostError)
        assert printable(error.message).isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_malformed_record_is_ignored_or_printable(payload: str) -> None:
    """`status` shows a known state and a hexadecimal id, and escapes the rest."""
    owner = json.dumps({"owner": payload, "inventory": "demo", "verb": "apply"})
    fields = ["beef", "1", "2", "", "failed", "reverted", owner, "", "3"]
    for number in range(len(fields)):
        line = "\t".join(["record reverted", *fields[:number], payload, *fields[number + 1 :]])
        for record in readable_records(line.replace("\n", " ") + "\n"):
            assert set(record.id) <= set("0123456789abcdef")
            assert printable(describe(recorded_outcome(record))).isprintable()


def test_a_snapshot_that_is_too_large_is_an_error(hosts: Hosts) -> None:
    """The error names the host and the limit."""
    session = Session(inventory("h1"), hosts)
    hosts.facts = {"h1": HOST + "\nroutes []" * 2_000_000}
    observed = fleet.observe(session, ("h1",))
    assert "larger than" in observed.errors["h1"].message


def test_the_reason_why_docker_is_silent_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` and `graph` print it as the host told it."""
    space = NetNamespace(1, (), ())
    title = "\x1b]0;owned\x07"  # sets the title of a terminal
    topology = HostTopology("h1", space, {1: space}, {}, {}, (), (), docker_error=title)
    show._print_problems(View(inventory("h1"), ("h1",), {"h1": topology}, ()))
    err = capsys.readouterr().err
    assert "owned" in err and "\x1b" not in err and "\x07" not in err

"""A host that lies: what it says is data, whatever it is, and is reported as such."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.engine import apply, desired, fleet, guard, report
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.outcome import CONFIRMED
from provision.engine.status import describe, recorded_outcome
from provision.model.errors import FactsError, HostError
from provision.model.terminal import printable
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
    kinds = tuple(KINDS[name] for name in sorted(KINDS))
    monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
    monkeypatch.setattr(desired, "wanted", lambda _inventory, _facts: {})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Hosts()


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_name_that_a_host_gives_is_text(hosts: Hosts, payload: str, tmp_path: Path) -> None:
    """It is quoted when it goes back, and steers no terminal."""
    session = Session(inventory("h1"), hosts)
    toy = Toy("h1", payload.replace("\n", " "), payload)
    hosts.toys[toy.ref] = toy
    found = apply.preview(session, ("h1",), destroy=True)
    shown = [printable(line) for line in report.plan_lines(found)]
    assert all(line.isprintable() for line in shown)
    json.dumps(report.plan_json(found))
    done = apply.converge(session, ("h1",), ApplyOptions(destroy=True))
    assert done.outcomes == {"h1": CONFIRMED}
    assert hosts.toys == {}
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
@pytest.mark.parametrize("field", ["docker_info", "addresses", "routes", "way", "uid", "ssh"])
def test_facts_that_cannot_be_are_an_error_of_that_host(
    hosts: Hosts, field: str, payload: str, tmp_path: Path
) -> None:
    """Or plain text; the other hosts are not concerned, and nothing is written here."""
    session = Session(inventory("h1", "h2"), hosts)
    hosts.facts = {"h2": f"{HOST}\n{field} {payload}"}
    found = fleet.observe(session, ("h1", "h2"))
    assert "h1" in found.snapshots
    for error in found.errors.values():
        assert isinstance(error, FactsError | HostError)
        assert printable(error.message).isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_record_that_cannot_be_is_none(payload: str) -> None:
    """What `status` shows is one of our words, an owner and an id in hexadecimal."""
    owner = json.dumps({"owner": payload, "inventory": "demo", "verb": "apply"})
    fields = ["beef", "1", "2", "", "failed", "reverted", owner, "", "3"]
    for number in range(len(fields)):
        line = "\t".join(["record reverted", *fields[:number], payload, *fields[number + 1 :]])
        for record in guard.records(line.replace("\n", " ") + "\n"):
            assert set(record.id) <= set("0123456789abcdef")
            assert printable(describe(recorded_outcome(record))).isprintable()


def test_endless_output_is_not_believed(hosts: Hosts) -> None:
    """A look has a limit; what is over it makes an error."""
    session = Session(inventory("h1"), hosts)
    hosts.facts = {"h1": HOST + "\nroutes []" * 2_000_000}
    found = fleet.observe(session, ("h1",))
    assert "larger than" in found.errors["h1"].message

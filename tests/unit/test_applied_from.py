"""An inventory of the same name from another folder or machine takes nothing away unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from provision.engine import applied_from, desired, transaction
from provision.engine.apply import converge, preview
from provision.engine.fleet import Session
from provision.engine.options import ApplyOptions
from provision.engine.status import current_user
from provision.facts import host_probe
from provision.inventory.load import load
from provision.model.errors import ConflictError, ExitStatus
from provision.model.inventory import Inventory
from provision.resources.base import Resource
from tests.fakes import HOST, KINDS, Hosts, Toy, inventory

HOSTS = ("h1", "h2")
MACHINE = current_user().rpartition("@")[2]


class Fleet:
    """Two hosts with a toy each, applied from another file; `wanted` are the toys of this one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
        monkeypatch.setattr(transaction, "WAVE_S", 0)
        kinds = tuple(KINDS[name] for name in sorted(KINDS))
        monkeypatch.setattr("provision.resources.kinds.all_kinds", lambda: kinds)
        self.wanted: list[Resource] = [Toy(host, "new") for host in HOSTS]
        monkeypatch.setattr(desired, "wanted", lambda *_: {toy.ref: toy for toy in self.wanted})
        self.hosts = Hosts({toy.ref: toy for toy in (Toy(host, "old") for host in HOSTS)})
        self.lines: list[str] = []
        file = replace(inventory(*HOSTS), path=folder / "mine" / "demo.yml")
        self.session = Session(file, self.hosts, warn=self.lines.append)

    def applied_from(self, path: Path, owner: str) -> None:
        """Let the hosts tell this file, as `templates/look/host.sh` prints it."""
        record = json.dumps({"owner": owner, "path": str(path)})
        self.hosts.facts = dict.fromkeys(HOSTS, f"{HOST}\norigin {record} ")


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fleet:
    """Hosts whose toy `old` is to be deleted, and a toy `new` to be created."""
    return Fleet(monkeypatch, tmp_path)


@pytest.mark.parametrize("destroy", [False, True])
@pytest.mark.parametrize(
    "folder, owner", [("theirs", f"bob@{MACHINE}"), ("mine", "bob@far"), ("theirs", "bob@far")]
)
def test_another_folder_or_machine_needs_consent(
    fleet: Fleet, tmp_path: Path, folder: str, owner: str, destroy: bool
) -> None:
    """Plan and the error name the file, its user and the option; nothing is changed without it."""
    path = tmp_path / folder / "demo.yml"
    fleet.applied_from(path, owner)
    message = (
        f"inventory 'demo' was applied from {path} by {owner}; "
        "1 change would remove or disturb its resources"
    )
    planned = preview(fleet.session, HOSTS, destroy=destroy)
    assert [(c.ref, c.message) for c in planned.conflicts] == [
        ((host, "inventory", "demo"), message) for host in HOSTS
    ]
    assert planned.warnings == (applied_from.HINT,)
    with pytest.raises(ConflictError) as raised:
        converge(fleet.session, HOSTS, ApplyOptions(destroy=destroy, window_s=0))
    assert raised.value.message == "\n".join(f"{host}: {message}" for host in HOSTS)
    assert raised.value.hint == applied_from.HINT and "--take-over" in applied_from.HINT
    assert {verb for _, verb in fleet.hosts.log} == {"snapshot"}

    options = ApplyOptions(destroy=destroy, window_s=0, take_over=True)
    assert not preview(fleet.session, HOSTS, destroy=destroy, take_over=True).conflicts
    result = converge(fleet.session, HOSTS, options)
    assert result.exit_status == ExitStatus.OK
    assert fleet.lines == [f"warning: {warning}" for warning in result.warnings]
    assert {ref.name for ref in fleet.hosts.toys} == (set() if destroy else {"new"})
    assert fleet.lines == [
        f"warning: h1, h2: inventory 'demo' was applied from {path} by {owner}, not from this file"
    ]


def test_what_only_adds_needs_no_consent(fleet: Fleet, tmp_path: Path) -> None:
    """Another checkout of the same file can add to it; the plan says whose the rest is."""
    fleet.applied_from(tmp_path / "theirs" / "demo.yml", "bob@far")
    fleet.wanted += [Toy(host, "old") for host in HOSTS]
    planned = preview(fleet.session, HOSTS)
    assert not planned.conflicts and "by bob@far, not from this file" in planned.warnings[0]
    converge(fleet.session, HOSTS, ApplyOptions(window_s=0))
    assert not preview(fleet.session, HOSTS).warnings, "nothing is left to change"


def test_files_of_one_folder_replace_each_other(fleet: Fleet, tmp_path: Path) -> None:
    """A project may have a file for each method; the user does not matter, as with sudo."""
    fleet.applied_from(tmp_path / "mine" / "other.yml", f"root@{MACHINE}")
    planned = preview(fleet.session, HOSTS)
    assert not planned.conflicts and "other.yml" in planned.warnings[0]


@pytest.mark.parametrize("record", ["", "origin ", "origin {", "origin []", 'origin {"path": 1}'])
def test_the_same_file_and_hosts_without_a_record_are_as_before(
    fleet: Fleet, tmp_path: Path, record: str
) -> None:
    """An earlier version wrote none; a damaged one stops no command."""
    fleet.hosts.facts = dict.fromkeys(HOSTS, f"{HOST}\n{record}")
    planned = preview(fleet.session, HOSTS)
    assert not planned.conflicts and not planned.warnings
    fleet.applied_from(tmp_path / "mine" / "demo.yml", f"root@{MACHINE}")
    planned = preview(fleet.session, HOSTS)
    assert not planned.conflicts and not planned.warnings


def test_a_record_names_the_file_where_the_inventory_has_something(tmp_path: Path) -> None:
    """A host with nothing of it gets an empty one; the record can be read back."""
    (tmp_path / "demo.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.0.0.1}, h2: {address: 10.0.0.2}}\n"
        "containers: {c1: {host: h1, network: host}}\n"
    )
    demo = load(tmp_path / "demo.yml")
    assert "h2" not in applied_from.records(demo)
    record = applied_from.records(demo)["h1"]
    read = host_probe.parse("h1", f"{HOST}\norigin {record.replace(chr(10), ' ')}").applied_from
    assert read is not None and read.machine == MACHINE
    assert (read.path, read.owner) == (str(tmp_path / "demo.yml"), current_user())
    networks = load_network(tmp_path)
    assert applied_from.records(networks).keys() == {"h1", "h2"}
    assert not applied_from.records(replace(networks, networks=MappingProxyType({})))


def load_network(folder: Path) -> Inventory:
    """An inventory with a network on both hosts."""
    text = (folder / "demo.yml").read_text().partition("containers")[0]
    (folder / "demo.yml").write_text(
        f"{text}networks: {{blue: {{method: routes, cidr: 172.20.0.0/16}}}}\n"
    )
    return load(folder / "demo.yml")

"""Which etcd members are replaced: by the data of each, and by the lists that the hosts got.

`lab/test_flannel_lost.py` makes members of booted hosts lose their data.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.engine import desired, preflight
from provision.inventory.load import load
from provision.methods.flannel import etcd_members, options
from provision.methods.flannel.facts import EtcdMember, FlannelFacts, probe
from provision.model.inventory import Inventory
from provision.resources import script
from provision.resources.base import Ref
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.etcd_data import EtcdData
from provision.resources.kinds.etcd_lease import EtcdLease
from provision.resources.kinds.service import Service
from provision.resources.render import program_text
from provision.resources.steps import Run
from tests.cases import test_cases

# The beginning of a log that etcd 3.4.23 wrote: the records of checksum, metadata and snapshot.
LOG = (
    "0400000000000084" "0804100000000000" "1e00000000000082" "080110e79197c002"
    "1a1408a0bddda3b2bbac9b4010d8b690af92f9cdec640000"
    "0e00000000000082" "080510dc8be8ac031a0408001000"
)  # fmt: skip
LOG_ID = "4036b1db24775ea0"


def read_ids(folders: Mapping[Path, bytes | None]) -> list[str]:
    """What etcd_member.pl prints of folders whose logs begin with these bytes."""
    for folder, log in folders.items():
        if log is not None:
            (folder / "member" / "wal").mkdir(parents=True)
            (folder / "member" / "wal" / f"{0:016x}-{0:016x}.wal").write_bytes(log)
    argv = ["perl", "-e", program_text("look/etcd_member.pl"), *map(str, folders)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_the_id_of_a_member_is_in_its_log(tmp_path: Path) -> None:
    """Padded with zeros as etcd preallocates it, cut off, of something else, empty, or missing."""
    log = bytes.fromhex(LOG)
    logs = {"good": log + bytes(64), "cut": log[:40], "other": b"x" * 99, "empty": b""}
    folders: dict[Path, bytes | None] = {tmp_path / name: text for name, text in logs.items()}
    folders[tmp_path / "no folder"] = None
    assert read_ids(folders) == [LOG_ID, "?", "?", "?", "-"]


def test_the_list_of_members_is_read_as_etcd_prints_it() -> None:
    """A new learner has no name and no URL for clients, and etcdctl leaves these fields out."""
    entries = [
        {"ID": 4627081221937520288, "name": "h1", "peerURLs": ["u1"], "clientURLs": ["c1"]},
        {"ID": 7839361984368372895, "peerURLs": ["u2"], "isLearner": True},
    ]
    text = (
        f"etcd over down\netcd_data over.a1 -\netcd_members over {json.dumps({'members': entries})}"
    )
    facts = probe().parse(text)
    assert isinstance(facts, FlannelFacts)
    assert facts.etcd_members["over"] == (
        EtcdMember(LOG_ID, "h1", "u1", started=True, learner=False),
        EtcdMember("6ccb0230a7fa6c9f", "", "u2", started=False, learner=True),
    )
    assert (facts.etcd_data, facts.etcd_keys) == ({"over.a1": "-"}, {})


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    """Three hosts with a flannel network, all of them members."""
    path = tmp_path / "demo.yml"
    hosts = "".join(f"  h{n}: {{address: 10.78.0.1{n}}}\n" for n in (1, 2, 3))
    path.write_text(
        f"name: demo\nhosts:\n{hosts}networks:\n  over: {{method: flannel, cidr: 172.16.0.0/16}}\n"
    )
    return load(path)


def facts(inventory: Inventory, etcd: dict[str, Any]) -> dict[str, Any]:
    """The facts of the hosts, with the state of etcd as golden cases have it."""
    docker = dict.fromkeys(inventory.hosts, "26.1.5")
    return test_cases.facts(inventory, {"docker": docker, "etcd": etcd})


LISTED = {"h1": "a1", "h2": "a2", "h3": "a3"}


@pytest.mark.parametrize(
    ("data", "listed", "expected"),
    [
        ({"h1": "a1", "h2": "a2", "h3": "a3"}, LISTED, {}),
        ({"h1": "a1", "h3": "a3"}, LISTED, {"h2": "a2"}),
        ({"h1": "a1", "h2": "-", "h3": "a3"}, LISTED, {"h2": "a2"}),
        ({"h1": "a1", "h2": "?", "h3": "a3"}, LISTED, {}),
        ({"h1": "a1", "h2": "b2", "h3": "a3"}, LISTED, {"h2": "a2"}),
        (
            {"h1": "a1", "h2": "a2"},
            {"h1": "a1"},
            dict.fromkeys(("h2", "h3"), etcd_members.UNLISTED),
        ),
        ({"h1": "a1"}, {}, {}),
    ],
    ids=["whole", "no folder", "no log", "unreadable", "other id", "only one listed", "no answer"],
)
def test_members_without_the_data_of_their_entry_are_replaced(
    inventory: Inventory, data: dict[str, str], listed: dict[str, str], expected: dict[str, str]
) -> None:
    """Never one whose data cannot be read, and none while etcd does not answer."""
    hosts = facts(inventory, {"data": data, "listed": listed})
    assert etcd_members.lost(inventory, inventory.networks["over"], hosts) == expected


def with_entry(hosts: dict[str, Any], host: str, number: int, **fields: Any) -> dict[str, Any]:
    """The facts with one entry changed in the list that `host` got."""
    old = hosts[host].of(FlannelFacts)
    entries = list(old.etcd_members["over"])
    entries[number] = replace(entries[number], **fields)
    new = replace(old, etcd_members={"over": tuple(entries)})
    kinds = {**hosts[host].of_methods, FlannelFacts: new}
    return hosts | {host: replace(hosts[host], of_methods=kinds)}


def test_the_entry_tells_new_members_from_lost_ones(inventory: Inventory) -> None:
    """A member of a new cluster needs no data; one that was added later, or is a learner, does."""
    network = inventory.networks["over"]
    before = facts(inventory, {"data": {"h1": "a1", "h3": "a3"}, "listed": LISTED})
    for fields, lost in (
        ({"started": False}, {}),
        ({"started": False, "name": ""}, {"h2": "a2"}),
        ({"learner": True}, {"h2": "a2"}),
    ):
        hosts = before
        for host in inventory.hosts:
            hosts = with_entry(hosts, host, 1, **fields)
        assert etcd_members.lost(inventory, network, hosts) == lost


def test_all_lists_have_to_agree(inventory: Inventory) -> None:
    """A member that is cut off from the others answers by an old list."""
    data = {"h1": "a1", "h2": "b2", "h3": "a3"}
    hosts = facts(inventory, {"data": data, "listed": LISTED})
    assert etcd_members.lost(inventory, inventory.networks["over"], hosts)
    newer = with_entry(hosts, "h3", 1, id="b2")
    assert etcd_members.lost(inventory, inventory.networks["over"], newer) == {}


def test_an_answer_of_another_cluster_does_not_count(inventory: Inventory) -> None:
    """After a change of the members, the old etcd still answers."""
    hosts = facts(inventory, {"data": {}, "listed": LISTED})
    network = inventory.networks["over"]
    settings = options.options(network)
    fewer = settings.etcd.model_copy(update={"members": ["h2"]})
    other = replace(network, options=replace(settings, etcd=fewer))
    assert etcd_members.lost(inventory, network, hosts)
    assert etcd_members.lost(inventory, other, hosts) == {}


def test_lost_members_join_one_after_the_other(inventory: Inventory) -> None:
    """The second waits for the service of the first, and does not remove its new entry."""
    hosts = facts(inventory, {"data": {"h1": "a1"}, "listed": {"h1": "a1"}})
    wanted = desired.wanted(inventory, hosts)
    name = "provision-demo-over-etcd.service"
    first, second = (wanted[Ref(host, "service", name)] for host in ("h2", "h3"))
    assert isinstance(first, Service) and isinstance(second, Service)
    assert Ref("h2", "service", name) in second.after()
    assert not {ref for ref in first.after() if ref.host == "h3" and ref.kind == "service"}
    for service, removed in ((first, ("12", "13")), (second, ("13",))):
        (join,) = service.first_start
        assert isinstance(join, Run)
        urls = tuple(f"https://10.78.0.{number}:2380" for number in removed)
        assert join.argv[join.argv.index(urls[0]) + 1 :] == urls
        assert "--initial-cluster-state=new" in service.text


def test_a_new_member_leaves_before_a_rollback_deletes_its_data(inventory: Inventory) -> None:
    """A voting member without data could cost the others their majority."""
    ref = Ref("h2", "service", "provision-demo-over-etcd.service")
    for data, leaves in (({"h1": "a1", "h3": "a3"}, True), (LISTED, False)):
        service = desired.wanted(inventory, facts(inventory, {"data": data, "listed": LISTED}))[ref]
        text = script.commands(service.undo(None, ours=True))
        assert ("member remove" in text) == leaves
        assert text.endswith(script.commands(service.delete()))


def test_a_rollback_does_not_start_a_service_that_was_stopped(inventory: Inventory) -> None:
    """etcd's start would make the folder of its data again."""
    ref = Ref("h2", "service", "provision-demo-over-etcd.service")
    service = desired.wanted(inventory, facts(inventory, {"data": LISTED, "listed": LISTED}))[ref]
    assert isinstance(service, Service)
    for stopped in (True, False):
        text = script.commands(replace(service, stopped=stopped).unstash("txn"))
        assert "systemctl -q enable" in text and text.endswith(" start") != stopped
        # One that the change has not reached yet keeps what its peers know.
        assert not text.endswith(" restart")


def test_a_rollback_leaves_the_keys_of_a_host_that_could_not_read_them(
    inventory: Inventory,
) -> None:
    """A host that was installed anew cannot tell that etcd has its lease; the others do."""
    for etcd, remains in (
        ({"data": LISTED, "listed": LISTED}, True),
        ({"data": LISTED}, False),
    ):
        wanted = desired.wanted(inventory, facts(inventory, etcd)).values()
        keys = [each for each in wanted if isinstance(each, EtcdConfig | EtcdLease)]
        assert len(keys) == 4
        for resource in keys:
            assert (resource.undo(None, ours=True) == ()) == remains
            assert resource.delete()


def test_only_the_loss_of_a_majority_is_refused(inventory: Inventory) -> None:
    """Not the state before the first apply, and not the loss of one member or of all."""
    for data, refused in (
        ({}, False),
        ({"h1": "a1"}, True),
        ({"h1": "a1", "h2": "a2"}, False),
        (LISTED, False),
    ):
        problems = preflight.problems(inventory, facts(inventory, {"data": data}))
        assert bool(problems) == refused, data
    unseen = {k: v for k, v in facts(inventory, {"data": {"h1": "a1"}}).items() if k != "h3"}
    assert not preflight.problems(inventory, unseen)


def with_other_data(hosts: dict[str, Any], *names: str) -> dict[str, Any]:
    """The facts where these hosts have data of a cluster with other members."""
    result = dict(hosts)
    for name in names:
        old = hosts[name].of(FlannelFacts)
        new = replace(old, etcd_data={**old.etcd_data, "over.other": "b1"})
        kinds = {**hosts[name].of_methods, FlannelFacts: new}
        result[name] = replace(hosts[name], of_methods=kinds)
    return result


def test_a_host_that_comes_back_has_data_of_an_earlier_cluster(inventory: Inventory) -> None:
    """The others went on without it: that is no loss, and the old data is deleted first."""
    network = inventory.networks["over"]
    lost = facts(inventory, {"data": {"h2": "a2"}})
    back = with_other_data(lost, "h1", "h3")
    assert preflight.problems(inventory, lost) and not preflight.problems(inventory, back)
    assert etcd_members.of_earlier(inventory, network, back) == {"h2"}
    assert not etcd_members.of_earlier(inventory, network, lost)
    name = f"over.{options.cluster(inventory, network)}"
    for host, deleted in (("h1", False), ("h2", True), ("h3", False)):
        data = desired.wanted(inventory, back)[Ref(host, "etcd_data", name)]
        assert isinstance(data, EtcdData)
        assert (data != replace(data, replaces="")) == deleted
        assert ("earlier cluster" in data.cause) == deleted


def test_data_of_a_host_that_was_never_away_is_kept(inventory: Inventory) -> None:
    """A change of the members while etcd answers, and one that has not ended, delete nothing."""
    network = inventory.networks["over"]
    answers = with_other_data(facts(inventory, {"data": LISTED, "listed": LISTED}), "h1")
    majority = with_other_data(facts(inventory, {"data": {"h2": "a2", "h3": "a3"}}), "h1")
    for hosts in (answers, majority):
        assert not etcd_members.of_earlier(inventory, network, hosts)

"""flannel's settings in etcd, which one host has for all: whose they are, and when they go.

`unit/test_host_programs.py` runs the program that removes them, `lab/test_flannel_external.py` the
commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import desired
from provision.engine.plan import operations, plan, waves
from provision.methods.flannel import options
from provision.methods.flannel.facts import FlannelFacts
from provision.model.inventory import Inventory
from provision.resources.base import Found, Origin, Ref, State, state
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.etcd_lease import EtcdLease
from tests.cases import test_cases
from tests.unit.test_flannel import etcdctl_json, inventory, lease


def etcd_of(*hosts: int, writer: int = 1) -> dict[str, str]:
    """The keys of an etcd in which hosts have leases; the host `writer` wrote the settings."""
    mark = "/provision/demo/over"
    config = {"host": f"h{writer}", "prefix": "/coreos.com/network", "cluster": "c"}
    pairs = {"/coreos.com/network/config": "{}", f"{mark}/config": json.dumps(config)}
    for number in hosts:
        key = f"/coreos.com/network/subnets/172.16.{number}.0-24"
        pairs[key] = json.dumps(lease(number))
        record = {"key": key, "address": f"10.78.0.1{number}", "cluster": "c"}
        pairs[f"{mark}/hosts/h{number}"] = json.dumps(record)
    return pairs


def found_in(
    pairs: Mapping[str, str], *hosts: int, inventory: tuple[int, ...] = (1, 2, 3)
) -> State:
    """The resources of hosts of an inventory, by what their etcd tells."""
    entries: list[Found] = []
    for host in hosts:
        peers = " ".join(f"10.78.0.1{peer}" for peer in inventory if peer != host)
        text = f"etcd over {etcdctl_json(pairs)}\npeers {peers}"
        for kind in (EtcdConfig, EtcdLease):
            entries += kind.parse(text, Origin(f"h{host}", "demo"))
    assert all(entry.ours for entry in entries)
    return state(entry.resource for entry in entries)


def writers(found: State) -> list[str]:
    """The hosts whose resource the settings are."""
    return [ref.host for ref in found if ref.kind == "etcd_config"]


def test_the_settings_pass_on_to_a_host_that_still_has_a_lease() -> None:
    """They are a resource of exactly one host, in whatever order the hosts leave."""
    assert writers(found_in(etcd_of(1, 2, 3), 1, 2, 3)) == ["h1"]
    assert writers(found_in(etcd_of(2, 3), 2, 3)) == ["h2"]
    assert writers(found_in(etcd_of(3), 3)) == ["h3"]
    assert writers(found_in(etcd_of(1, 3, writer=2), 1, 3)) == ["h1"]
    # A host that has left the file does not get them, nor one whose lease is gone.
    assert writers(found_in(etcd_of(2, 3), 3, inventory=(1, 3))) == ["h3"]
    lost = etcd_of(2, 3)
    del lost["/coreos.com/network/subnets/172.16.2.0-24"]
    assert writers(found_in(lost, 2, 3)) == ["h3"]
    # Before the first lease they are those of the host that wrote them.
    assert writers(found_in(etcd_of(), 1, 2, 3)) == ["h1"]


@pytest.mark.parametrize("hosts", [(1, 2, 3), (2, 3)])
def test_all_leases_go_before_the_settings(hosts: tuple[int, ...]) -> None:
    """Otherwise a destroy of all hosts would find a lease of another host, and leave them."""
    found = found_in(etcd_of(*hosts), *hosts)
    order = [
        {(host, operation.change.ref.kind) for host, each in wave.items() for operation in each}
        for wave in waves(operations(plan(found, {})))
    ]
    leases = {(f"h{number}", "etcd_lease") for number in hosts}
    assert order == [leases, {(f"h{hosts[0]}", "etcd_config")}]


def planned(demo: Inventory, keys: Mapping[str, str]) -> State:
    """What a plan wants where all hosts read these keys in the etcd of the network."""
    owner = json.loads(keys["/provision/demo/over/config"])
    owner["cluster"] = options.cluster(demo, demo.networks["over"])
    answer = {**keys, "/provision/demo/over/config": json.dumps(owner)}
    case = {"docker": dict.fromkeys(demo.hosts, "28.5.2")}
    of_methods = {FlannelFacts: FlannelFacts(etcd_keys={"over": answer})}
    return desired.wanted(
        demo,
        {
            host: replace(facts, of_methods=of_methods)
            for host, facts in test_cases.facts(demo, case).items()
        },
    )


def test_a_plan_leaves_the_settings_with_the_host_that_has_them(tmp_path: Path) -> None:
    """After h1 was destroyed, its next apply changes nothing on other hosts."""
    demo = inventory(tmp_path)
    with_h1, without_h1 = planned(demo, etcd_of(1, 2, 3)), planned(demo, etcd_of(2, 3))
    assert (writers(with_h1), writers(without_h1)) == (["h1"], ["h2"])
    assert writers(planned(demo, etcd_of())) == ["h1"]
    units = [ref for ref in with_h1 if ref.kind == "service" and "flanneld" in ref.name]
    assert len(units) == 3 and all(with_h1[ref] == without_h1[ref] for ref in units)
    # Where the settings change, every flanneld starts after them.
    settings = Ref("h2", "etcd_config", "over/coreos.com/network/config")
    assert all(settings in without_h1[ref].after() for ref in units)

"""The order in which a host rolls back operations that move the NIC that carries SSH."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from provision.engine import desired
from provision.engine.plan import operations, plan
from provision.engine.released_nics import with_released_nics
from provision.engine.undo_order import order
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, Link
from provision.facts.host_probe import parse
from provision.facts.nics import Nic
from provision.methods.pipework import resources
from provision.resources.base import State, state
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.kinds.file import File
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.kinds.service import Service
from provision.resources.lib.nic_records import NicAddress
from provision.resources.on_hosts import Mark
from tests.fakes import HOST
from tests.unit.test_released_nics import OWN, PEER, PIPEWORK, inventory, ovs_snapshot

NETWORKD = "[Match]\nName=eth1\n\n[Network]\nAddress=10.78.0.11/24\n"


def plain() -> HostFacts:
    """The facts of a host whose eth1 carries SSH and is not a port of a bridge."""
    nic = Nic(
        "eth1",
        managers=("systemd-networkd",),
        network=NETWORKD,
        addresses=(NicAddress("10.78.0.11", 24),),
    )
    return replace(
        parse("h1", HOST),
        links={"eth1": Link("eth1", 1500, (OWN,))},
        nics={"eth1": nic},
        ssh_to=OWN.ip,
        ssh_from=PEER,
    )


def undo_kinds(before: State, after: State) -> list[str]:
    """The kinds of the changed resources, in the order of the rollback."""
    todo = operations(plan(before, after), txn="aa")
    return [todo[number].change.ref.kind for number in order(todo)]


def test_the_rollback_of_the_bridge_does_not_wait_for_docker(tmp_path: Path) -> None:
    """Containers may still be on the bridge, because dockerd may hang."""
    demo = inventory(tmp_path, PIPEWORK)
    kinds = undo_kinds({}, desired.wanted(demo, {"h1": plain()}))
    assert kinds.index("lan_bridge") < kinds.index("docker_network")


def test_the_bridge_is_removed_before_open_vswitch_takes_the_nic_again(tmp_path: Path) -> None:
    """Even if another NIC carries SSH: the NIC can be a port of only one bridge."""
    demo, snapshot = inventory(tmp_path, PIPEWORK), ovs_snapshot()
    snapshot = with_released_nics(
        demo,
        HostSnapshot(replace(snapshot.facts, ssh_to=None), snapshot.ours, snapshot.foreign),
    )
    network = demo.networks["n"]
    desired_state = state(resources.resources(demo, network, snapshot.facts, mtu=1500))
    kinds = undo_kinds(snapshot.ours, desired_state)
    assert kinds.index("lan_bridge") < kinds.index("ovs_uplink")


def test_open_vswitch_starts_before_its_bridge_is_created_again(tmp_path: Path) -> None:
    """The destroy that is rolled back had stopped the service."""
    demo = inventory(tmp_path, "{method: pipework, cidr: 10.78.0.0/24, kind: ovs, bridge: ovsbr0}")
    resources_by_ref = dict(desired.wanted(demo, {"h1": plain()}))
    daemon = next(r for r in resources_by_ref.values() if isinstance(r, OvsDaemon))
    resources_by_ref[daemon.ref] = replace(daemon, original="disabled inactive new")
    applied = {ref: r for ref, r in resources_by_ref.items() if ref.kind != "package"}
    kinds = undo_kinds(applied, {})
    assert kinds.index("ovs_daemon") < kinds.index("lan_bridge_ovs")


def test_daemons_start_with_their_old_settings() -> None:
    """A service that is started before its file is the old one would keep the new settings."""
    mark = Mark("demo", "core")
    file = File("h1", "/etc/provision/demo/bgpd.conf", "router bgp 64512\n", "0644")
    keys = EtcdConfig("h1", "over", "/net", "{}", "aa", ("h1",), "demo")
    service = Service("h1", "provision-demo-core-bgp.service", mark, "# 1\n", needs=(file.ref,))
    before = (file, keys, service)
    after = (
        replace(file, text="router bgp 64513\n"),
        replace(keys, config='{"Network": ""}'),
        replace(service, text="# 2\n"),
    )
    kinds = undo_kinds(state(before), state(after))
    assert kinds.index("service") == 2, kinds

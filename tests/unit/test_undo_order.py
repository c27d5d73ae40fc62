"""In which order a host undoes what moves the NIC by which SSH comes."""

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
from provision.resources.kinds.ovs_daemon import OvsDaemon
from provision.resources.lib.nic_records import NicAddress
from tests.fakes import HOST
from tests.unit.test_returning import OWN, PEER, PIPEWORK, switched, wants

NETWORKD = "[Match]\nName=eth1\n\n[Network]\nAddress=10.78.0.11/24\n"


def plain() -> HostFacts:
    """SSH comes by eth1, which nobody has moved."""
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


def undone(found: State, wanted: State) -> list[str]:
    """The kinds, in the order in which they are undone."""
    todo = operations(plan(found, wanted), txn="aa")
    return [todo[number].change.ref.kind for number in order(todo)]


def test_nothing_of_dockers_is_waited_for(tmp_path: Path) -> None:
    """Containers on the bridge do not keep it: dockerd may hang."""
    inventory = wants(tmp_path, PIPEWORK)
    kinds = undone({}, desired.wanted(inventory, {"h1": plain()}))
    assert kinds.index("lan_bridge") < kinds.index("docker_network")


def test_a_bridge_goes_before_open_vswitch_takes_the_nic_again(tmp_path: Path) -> None:
    """Also where SSH comes by another NIC now: else both hold it, and none has the address."""
    inventory, look = wants(tmp_path, PIPEWORK), switched()
    look = with_released_nics(
        inventory, HostSnapshot(replace(look.facts, ssh_to=None), look.ours, look.foreign)
    )
    network = inventory.networks["n"]
    wanted = state(resources.resources(inventory, network, look.facts, mtu=1500))
    kinds = undone(look.ours, wanted)
    assert kinds.index("lan_bridge") < kinds.index("ovs_uplink")


def test_open_vswitch_runs_before_its_bridge_is_made_again(tmp_path: Path) -> None:
    """A destroy had stopped it."""
    inventory = wants(tmp_path, "{method: pipework, cidr: 10.78.0.0/24, kind: ovs, bridge: ovsbr0}")
    held = dict(desired.wanted(inventory, {"h1": plain()}))
    daemon = next(one for one in held.values() if isinstance(one, OvsDaemon))
    held[daemon.ref] = replace(daemon, original="disabled inactive new")
    kinds = undone({ref: one for ref, one in held.items() if ref.kind != "package"}, {})
    assert kinds.index("ovs_daemon") < kinds.index("lan_bridge_ovs")

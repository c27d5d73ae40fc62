"""A change that moves a NIC names the networks of other inventories that stand on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import moved_nics
from provision.engine.plan import Change, plan
from provision.facts import host_probe
from provision.facts.firewall import Firewall
from provision.facts.host import HostFacts
from provision.model.inventory import Inventory
from provision.resources.base import Resource, state
from provision.resources.kinds.lan_bridge import LanBridge
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.lib.nic_records import OriginalNic
from provision.resources.on_hosts import Mark
from tests.fakes import HOST
from tests.unit.test_released_nics import ADDRESS, PIPEWORK, VETH, inventory

# As iptables-save prints it, with and without quotes.
_RULE = '-A PROV-{0}-x {1} -m comment --comment "provision:{0}/{2}" -j ACCEPT'
TABLE = "\n".join(
    [
        _RULE.format("demo", "-s 172.20.0.0/16 -i NIC -o br-1", "blue").replace('"', ""),
        _RULE.format("demo", "-s 172.20.1.0/24 -i br-1 -o NIC", "blue"),
        _RULE.format("demo", "-s 172.21.0.0/16 -i NIC", "red"),
        _RULE.format("it", "-s 172.22.0.0/16 -i NIC", "n"),
        '-A FORWARD -i NIC -m comment --comment "somebody else" -j ACCEPT',
    ]
)


def facts(interface: str) -> HostFacts:
    """A host whose rules of `demo`, `it` and others name an interface."""
    firewall = Firewall(TABLE.replace("NIC", interface), is_read=True)
    return replace(host_probe.parse("h1", HOST), firewall=firewall)


def bridge(holder: str) -> LanBridge:
    """The bridge of `it`, whose addresses `holder` has."""
    veth = VETH if holder == VETH.name else None
    original = OriginalNic("eth1", "", 1500, "", (ADDRESS,), (), (), (), veth)
    mark = Mark("it", "bri0")
    return LanBridge("h1", "bri0", "eth1", "", 1500, holder, False, (), (), mark, original)


def changes(before: Resource | None, after: Resource | None) -> tuple[Change, ...]:
    """The change from one state to another."""
    current, wanted = (state([one] if one else []) for one in (before, after))
    return plan(current, wanted).changes


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Inventory]:
    """An inventory whose network takes the NIC."""
    yield inventory(tmp_path, PIPEWORK)


UPLINK = OvsUplink("h1", "eth1", "phy-eth1", "phy-eth1", "it")


@pytest.mark.parametrize(
    ("before", "after", "interface"),
    [
        (None, bridge("bri0"), "eth1"),
        (bridge("bri0"), None, "bri0"),
        (bridge("host-it"), None, "host-it"),
        (None, UPLINK, "eth1"),
        (UPLINK, None, "phy-eth1"),
    ],
)
def test_networks_of_other_inventories_are_named(
    it: Inventory, before: Resource | None, after: Resource | None, interface: str
) -> None:
    """Once for all of an inventory; not those of the file itself, nor rules of others."""
    change = changes(before, after)
    assert list(moved_nics.warnings(it, {"h1": facts(interface)}, change)) == [
        f"h1: addresses leave {interface}, which firewall rules of inventory 'demo' name "
        "(networks blue, red): apply the file of 'demo' again afterwards"
    ]
    assert not list(moved_nics.warnings(it, {"h1": facts("eth9")}, change))


def test_other_changes_move_nothing(it: Inventory) -> None:
    """An update of the bridge leaves the addresses where they are."""
    (change,) = changes(bridge("bri0"), replace(bridge("bri0"), mtu=1400))
    assert change.verb == "update"
    assert not list(moved_nics.warnings(it, {"h1": facts("eth1")}, (change,)))

"""The facts of a host as they will be once the inventory has released its NIC."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from provision.engine.released_nics import with_released_nics
from provision.facts import host_probe
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, KernelRoute, Link
from provision.facts.nics import Nic
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, state
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.lib.nic_records import HostVeth, NicAddress, NicRoute, OriginalNic
from tests.fakes import HOST

OWN = IPv4Interface("10.78.0.11/24")
PEER = IPv4Address("10.78.0.12")
ADDRESS = NicAddress("10.78.0.11", 24)
DEFAULT = NicRoute("default", via="10.78.0.1")
WAN = NicRoute("default", via="10.9.0.1", dev="wan")
VETH = HostVeth("host-it", "port-it", "02:00:00:00:00:01")
PIPEWORK = "{method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}"
OVS = "{method: ovs-gre, cidr: 172.16.0.0/16}"
ROUTES = "{method: routes, cidr: 172.16.0.0/16}"


def inventory(tmp_path: Path, network: str) -> Inventory:
    """An inventory `it` of two hosts with one network."""
    path = tmp_path / "it.yml"
    path.write_text(
        "name: it\nhosts:\n  h1: {address: 10.78.0.11}\n  h2: {address: 10.78.0.12}\n"
        f"networks:\n  n: {network}\n"
    )
    return load(path)


def with_bridge(holder: str) -> HostFacts:
    """The facts of a host whose address is on `holder`, a bridge or veth above eth1."""
    return replace(
        host_probe.parse("h1", HOST),
        links={"eth1": Link("eth1", 1500, ()), holder: Link(holder, 1500, (OWN,))},
        peer_routes=PeerRoutes.of({PEER: PeerRoute(holder, None)}),
        routes=(KernelRoute(OWN.network, holder, 2),),
        nics={
            "eth1": Nic("eth1", master=holder, managers=("systemd-networkd",)),
            holder: Nic(holder, bridge=True, addresses=(ADDRESS,), routes=(DEFAULT,)),
        },
        default_routes=(replace(DEFAULT, dev=holder), WAN),
    )


def pipework_facts(host_veth: HostVeth | None = None) -> HostFacts:
    """The facts of a host with pipework's bridge, and with the record of the original NIC."""
    original = OriginalNic("eth1", "", 1500, "", (ADDRESS,), (), (), (), host_veth)
    return replace(with_bridge(original.address_holder("bri0")), bridged_nics={"bri0": original})


def ovs_snapshot(*other_users: str) -> HostSnapshot:
    """A host whose eth1 is a port of Open vSwitch; other inventories may use it, too."""
    uplink = OvsUplink("h1", "eth1", "phy-eth1", "phy-eth1", "it", other_users=other_users)
    return HostSnapshot(
        replace(with_bridge("phy-eth1"), ovs_nic_by_bridge={"phy-eth1": "eth1"}),
        state([uplink]),
        {},
    )


def assert_released(facts: HostFacts, holder: str) -> None:
    """eth1 has all addresses and routes again, and `holder` does not exist."""
    assert holder not in facts.links and holder not in facts.nics
    assert facts.link_with(OWN.ip) == Link("eth1", 1500, (OWN,))
    assert facts.peer_routes[PEER] == PeerRoute("eth1", None)
    assert [route.dev for route in facts.routes] == ["eth1"]
    nic = facts.nics["eth1"]
    assert (nic.master, nic.managers) == ("", ("systemd-networkd",))
    assert (nic.addresses, nic.routes) == ((ADDRESS,), (DEFAULT,))
    assert facts.default_routes == (replace(DEFAULT, dev="eth1"), WAN)
    assert not facts.bridged_nics and not facts.ovs_nic_by_bridge


def test_a_removed_bridge_releases_the_nic(tmp_path: Path) -> None:
    """Even if a veth has the addresses. Open vSwitch then finds no obstacle any more."""
    blocked = OvsUplink("h1", "eth1", "", "eth1", "it", obstacle="eth1 is a port of bri0")
    foreign: list[Resource] = [blocked]
    snapshot = with_released_nics(
        inventory(tmp_path, OVS), HostSnapshot(pipework_facts(), {}, state(foreign))
    )
    assert_released(snapshot.facts, "bri0")
    (unblocked,) = snapshot.foreign.values()
    assert isinstance(unblocked, OvsUplink) and unblocked.obstacle == ""
    veth = with_released_nics(
        inventory(tmp_path, ROUTES), HostSnapshot(pipework_facts(VETH), {}, {})
    )
    assert_released(veth.facts, VETH.name)


def test_a_renamed_bridge_starts_from_the_nics_original_file(tmp_path: Path) -> None:
    """Our file on the host has no address, so the new bridge would have none either."""
    original_file = "[Match]\nName=eth1\n\n[Network]\nAddress=10.78.0.11/24\n"
    facts = pipework_facts()
    original = replace(facts.bridged_nics["bri0"], network=original_file)
    nic = replace(facts.nics["eth1"], network="[Match]\nName=eth1\n\n[Network]\nBridge=bri0\n")
    facts = replace(facts, bridged_nics={"bri0": original}, nics={**facts.nics, "eth1": nic})
    renamed = inventory(tmp_path, PIPEWORK.replace("}", ", bridge: bri1}"))
    assert (
        with_released_nics(renamed, HostSnapshot(facts, {}, {})).facts.nics["eth1"].network
        == original_file
    )


def test_a_nic_on_a_foreign_bridge_is_not_released(tmp_path: Path) -> None:
    """Preflight then reports the foreign bridge."""
    facts = pipework_facts()
    nic = replace(facts.nics["eth1"], master="br-lan")
    facts = replace(facts, nics={**facts.nics, "eth1": nic})
    assert (
        with_released_nics(inventory(tmp_path, OVS), HostSnapshot(facts, {}, {})).facts.nics["eth1"]
        == nic
    )


def test_open_vswitch_releases_the_nic(tmp_path: Path) -> None:
    """The next user is pipework's bridge, or the kernel for method routes."""
    for network in (PIPEWORK, ROUTES):
        assert_released(
            with_released_nics(inventory(tmp_path, network), ovs_snapshot()).facts, "phy-eth1"
        )


def test_a_nic_in_use_is_not_released(tmp_path: Path) -> None:
    """The inventory itself uses it, or another one does."""
    snapshot = HostSnapshot(pipework_facts(), {}, {})
    assert with_released_nics(inventory(tmp_path, PIPEWORK), snapshot) == snapshot
    for network, used in ((OVS, ovs_snapshot()), (PIPEWORK, ovs_snapshot("other"))):
        assert with_released_nics(inventory(tmp_path, network), used) == used

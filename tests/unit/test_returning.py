"""How a host is seen whose NIC goes back in the same change that is planned."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from provision.engine.released_nics import with_released_nics
from provision.facts import host_probe
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, KernelRoute, Link, PeerRoute
from provision.facts.nics import Nic
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, state
from provision.resources.kinds.ovs_uplink import OvsUplink
from provision.resources.kinds.route import Route
from provision.resources.lib.nic_records import HostVeth, NicAddress, NicRoute, OriginalNic
from tests.fakes import HOST

OWN = IPv4Interface("10.78.0.11/24")
PEER = IPv4Address("10.78.0.12")
ADDRESS = NicAddress("10.78.0.11", 24)
DEFAULT = NicRoute("default", via="10.78.0.1")
WAN = NicRoute("default", via="10.9.0.1", dev="wan")
VETH = HostVeth("host-it", "port-it", "02:00:00:00:00:01")
PART = IPv4Network("172.16.1.0/24")
PIPEWORK = "{method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}"
OVS = "{method: ovs-gre, cidr: 172.16.0.0/16}"
ROUTES = "{method: routes, cidr: 172.16.0.0/16}"


def wants(tmp_path: Path, network: str) -> Inventory:
    path = tmp_path / "it.yml"
    path.write_text(
        "name: it\nhosts:\n  h1: {address: 10.78.0.11}\n  h2: {address: 10.78.0.12}\n"
        f"networks:\n  n: {network}\n"
    )
    return load(path)


def above(holder: str) -> HostFacts:
    """A host whose address is on `holder`, above eth1."""
    return replace(
        host_probe.parse("h1", HOST),
        links={"eth1": Link("eth1", 1500, ()), holder: Link(holder, 1500, (OWN,))},
        peer_routes={PEER: PeerRoute(holder, None)},
        routes=(KernelRoute(OWN.network, holder, 2),),
        nics={
            "eth1": Nic("eth1", master=holder, managers=("systemd-networkd",)),
            holder: Nic(holder, bridge=True, addresses=(ADDRESS,), routes=(DEFAULT,)),
        },
        default_routes=(replace(DEFAULT, dev=holder), WAN),
    )


def moved(host_veth: HostVeth | None = None) -> HostFacts:
    """The same by pipework's bridge, with the record of what the NIC was."""
    original = OriginalNic("eth1", "", 1500, "", (ADDRESS,), (), (), (), host_veth)
    return replace(above(original.address_holder("bri0")), bridged_nics={"bri0": original})


def switched(*others: str) -> HostSnapshot:
    """The same by Open vSwitch's, which other inventories may need, too."""
    found = OvsUplink("h1", "eth1", "phy-eth1", "phy-eth1", "it", other_users=others)
    return HostSnapshot(
        replace(above("phy-eth1"), ovs_nic_by_bridge={"phy-eth1": "eth1"}), state([found]), {}
    )


def assert_back(facts: HostFacts, holder: str) -> None:
    """eth1 has everything, and `holder` is not there."""
    assert holder not in facts.links and holder not in facts.nics
    assert facts.link_with(OWN.ip) == Link("eth1", 1500, (OWN,))
    assert facts.peer_routes[PEER] == PeerRoute("eth1", None)
    assert [one.dev for one in facts.routes] == ["eth1"]
    nic = facts.nics["eth1"]
    assert (nic.master, nic.managers) == ("", ("systemd-networkd",))
    assert (nic.addresses, nic.routes) == ((ADDRESS,), (DEFAULT,))
    assert facts.default_routes == (replace(DEFAULT, dev="eth1"), WAN)
    assert not facts.bridged_nics and not facts.ovs_nic_by_bridge


def test_a_bridge_that_goes_gives_the_nic_back(tmp_path: Path) -> None:
    """Also where a veth holds the addresses; what Open vSwitch said stood in the way does not."""
    stuck = OvsUplink("h1", "eth1", "", "eth1", "it", obstacle="eth1 is a port of bri0")
    foreign: list[Resource] = [stuck]
    seen = with_released_nics(wants(tmp_path, OVS), HostSnapshot(moved(), {}, state(foreign)))
    assert_back(seen.facts, "bri0")
    (freed,) = seen.foreign.values()
    assert isinstance(freed, OvsUplink) and freed.obstacle == ""
    veth = with_released_nics(wants(tmp_path, ROUTES), HostSnapshot(moved(VETH), {}, {}))
    assert_back(veth.facts, VETH.name)


def test_a_bridge_of_another_name_finds_the_nics_first_file(tmp_path: Path) -> None:
    """The one on the host is ours, and has no address: the new bridge would come up without."""
    first = "[Match]\nName=eth1\n\n[Network]\nAddress=10.78.0.11/24\n"
    facts = moved()
    was = replace(facts.bridged_nics["bri0"], network=first)
    nic = replace(facts.nics["eth1"], network="[Match]\nName=eth1\n\n[Network]\nBridge=bri0\n")
    facts = replace(facts, bridged_nics={"bri0": was}, nics={**facts.nics, "eth1": nic})
    renamed = wants(tmp_path, PIPEWORK.replace("}", ", bridge: bri1}"))
    assert (
        with_released_nics(renamed, HostSnapshot(facts, {}, {})).facts.nics["eth1"].network == first
    )


def test_a_nic_that_somebody_else_has_taken_meanwhile_is_not_given_back(tmp_path: Path) -> None:
    """Its port of a bridge of theirs is in the way, and is said."""
    facts = moved()
    nic = replace(facts.nics["eth1"], master="br-lan")
    facts = replace(facts, nics={**facts.nics, "eth1": nic})
    assert (
        with_released_nics(wants(tmp_path, OVS), HostSnapshot(facts, {}, {})).facts.nics["eth1"]
        == nic
    )


def test_open_vswitch_gives_the_nic_back(tmp_path: Path) -> None:
    """To a bridge, or to the kernel."""
    for network in (PIPEWORK, ROUTES):
        assert_back(with_released_nics(wants(tmp_path, network), switched()).facts, "phy-eth1")


def test_what_is_needed_stays(tmp_path: Path) -> None:
    """By the file itself, or by another inventory."""
    at = HostSnapshot(moved(), {}, {})
    assert with_released_nics(wants(tmp_path, PIPEWORK), at) == at
    for network, look in ((OVS, switched()), (PIPEWORK, switched("other"))):
        assert with_released_nics(wants(tmp_path, network), look) == look


def test_routes_of_ours_that_go_are_no_nics_own(tmp_path: Path) -> None:
    """A bridge that takes the NIC's place would keep them else; those of the file it keeps."""
    kept = NicRoute("10.5.0.0/16", via="10.78.0.1", proto="3")
    ours = NicRoute(str(PART), via=str(PEER), proto="240")
    nic = Nic("eth1", addresses=(ADDRESS,), routes=(ours, kept))
    facts = replace(host_probe.parse("h1", HOST), nics={"eth1": nic})
    found = state([Route("h1", PART, PEER, "eth1", "it")])
    seen = with_released_nics(wants(tmp_path, PIPEWORK), HostSnapshot(facts, found, {}))
    assert seen.facts.nics["eth1"].routes == (kept,)
    same = HostSnapshot(facts, found, {})
    assert with_released_nics(wants(tmp_path, ROUTES), same) == same

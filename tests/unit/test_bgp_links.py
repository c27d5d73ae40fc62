"""Method `bgp` for hosts on several links, between which routers pass their packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.engine.departures import warnings
from provision.engine.desired import wanted
from provision.engine.host_subnets import settled_inventory
from provision.facts.host import HostFacts, KernelRoute
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.methods.bgp.method import BgpMethod
from provision.model.errors import InventoryError
from provision.model.inventory import Inventory
from provision.model.needs import Inbound
from provision.resources.base import Ref, State
from provision.resources.kinds.file import File
from provision.resources.kinds.service import Service
from provision.resources.lib.daemon_range import daemon_range
from tests.cases.test_cases import facts
from tests.unit.test_bgp import CASE, CONFIG, UNIT, answers, errors_of, example

FAR = ("h3: {address: 10.78.0.13}", "h3: {address: 10.79.0.13}")
NEAR_ROUTER, FAR_ROUTER = "10.78.0.254", "10.79.0.254"
ROUTERS = (
    f"routers: [{{address: {NEAR_ROUTER}, asn: 64600, accept: [10.200.0.0/16]}}, "
    f"{{address: {FAR_ROUTER}, asn: 64601}}]"
)
LINKS = "links: [10.78.0.0/24, 10.79.0.0/24]"
NEW_HOSTS = (
    "# h4: {address: 10.78.0.14}",
    "h4: {address: 10.78.0.14}\n  h5: {address: 10.79.0.15}",
)
FIVE = {"docker": {**CASE["docker"], "h5": "26.1.5", "h6": "26.1.5"}}
B3 = "  b3: {host: h3, network: core}\n"


def linked(folder: Path, *further: str, changes: tuple[tuple[str, str], ...] = ()) -> Inventory:
    """The example with h3 on a link of its own, and two routers."""
    keys = "\n    ".join((LINKS, ROUTERS, *further, "#"))
    return example(folder, FAR, ("# asn: 64512", keys), *changes)


def routed(inventory: Inventory) -> dict[str, HostFacts]:
    """The facts of hosts that reach those of the other link by its router."""
    states = facts(inventory, FIVE)
    for name, state in states.items():
        own = inventory.hosts[name].address
        routes = {
            peer.address: PeerRoute("eth1", gateway(own) if far(own) != far(peer.address) else None)
            for peer in inventory.hosts.values()
            if peer.name != name
        }
        states[name] = replace(state, peer_routes=PeerRoutes.of(routes))
    return states


def far(address: IPv4Address) -> bool:
    """True for an address on the second link."""
    return address in IPv4Network("10.79.0.0/24")


def gateway(address: IPv4Address) -> IPv4Address:
    """The router of the link that an address is on."""
    return IPv4Address(FAR_ROUTER if far(address) else NEAR_ROUTER)


def planned(inventory: Inventory, host: str, ending: str) -> str:
    """The text of one of the speaker's files."""
    path = CONFIG.replace("bgpd.conf", ending)
    resource = wanted(inventory, routed(inventory))[Ref(host, "file", path)]
    assert isinstance(resource, File)
    return resource.text


def test_each_host_calls_the_routers_of_its_own_link(tmp_path: Path) -> None:
    """And takes the routes of these alone; the reflectors are called from both links."""
    inventory = linked(tmp_path)
    near, over = planned(inventory, "h1", "bgpd.conf"), planned(inventory, "h3", "bgpd.conf")
    assert f"neighbor {NEAR_ROUTER} remote-as 64600" in near and FAR_ROUTER not in near
    assert f"neighbor {FAR_ROUTER} remote-as 64601" in over and NEAR_ROUTER not in over
    assert "10.200.0.0/16" in near and "10.200.0.0/16" not in over
    assert "neighbor 10.78.0.11 remote-as 64512" in over
    for link in ("10.78.0.0/24", "10.79.0.0/24"):
        assert f"bgp listen range {link} peer-group hosts" in near
    for host in inventory.hosts:
        assert "ip nht resolve-via-default" in planned(inventory, host, "zebra.conf")
    service = wanted(inventory, routed(inventory))[Ref("h3", "service", UNIT)]
    assert isinstance(service, Service)
    named = daemon_range(service.text)
    assert named is not None and named.routers == (FAR_ROUTER,)
    assert named.ranges == (IPv4Network("172.27.0.0/16"),)
    assert not preflight.problems(inventory, routed(inventory))


def test_a_new_host_on_either_link_changes_no_other(tmp_path: Path) -> None:
    """Neither a file nor a rule of a firewall names the hosts of the other link."""
    before, after = linked(tmp_path), linked(tmp_path, changes=(NEW_HOSTS,))
    old, new = (wanted(each, routed(each)) for each in (before, after))
    assert {ref: new[ref] for ref in old} == old
    assert {ref.host for ref in new.keys() - old.keys()} == {"h4", "h5"}
    for host in before.hosts:
        needs = [
            list(BgpMethod().firewall_needs(each, each.networks["core"], state))
            for each in (before, after)
            for state in (routed(each)[host],)
        ]
        assert needs[0] == needs[1]


def test_the_first_host_of_a_link_changes_no_other(tmp_path: Path) -> None:
    """Also with BFD, whose settings for hosts across a router are there from the beginning."""
    keys = "\n    ".join((LINKS, ROUTERS, "bfd: true", "#"))
    new = ("# h4: {address: 10.78.0.14}", "h4: {address: 10.79.0.14}")
    before, after = (example(tmp_path, ("# asn: 64512", keys), *more) for more in ((), (new,)))
    old, later = (wanted(each, routed(each)) for each in (before, after))
    assert {ref: later[ref] for ref in old} == old
    assert {ref.host for ref in later.keys() - old.keys()} == {"h4"}


def test_bfd_across_a_router_has_another_port(tmp_path: Path) -> None:
    """A host of the reflectors' link has a session without hops, the other one with them."""
    inventory = linked(tmp_path, "bfd: true", changes=(NEW_HOSTS,))
    near, over = planned(inventory, "h4", "bfdd.conf"), planned(inventory, "h3", "bfdd.conf")
    for reflector in ("10.78.0.11", "10.78.0.12"):
        assert f" peer {reflector} local-address 10.78.0.14\n" in near
        assert f" peer {reflector} multihop local-address 10.79.0.13\n" in over
    # The default of 254 allows for one router.
    assert "  minimum-ttl 1\n" in over
    network = inventory.networks["core"]
    assert BgpMethod().ports(network, "h3") == ("udp/3784", "udp/4784")
    found = BgpMethod().firewall_needs(inventory, network, routed(inventory)["h1"])
    needs = {
        (need.protocol, need.ports, str(need.source)) for need in found if isinstance(need, Inbound)
    }
    assert needs == {
        (protocol, ports, link)
        for protocol, ports in (("udp", (3784, 4784)), ("tcp", (179,)))
        for link in ("10.78.0.0/24", "10.79.0.0/24")
    }


def test_a_router_on_the_way_within_a_link_is_refused(tmp_path: Path) -> None:
    """And without `links` any router is, with a hint that names them."""
    inventory = linked(tmp_path)
    states = routed(inventory)
    h2 = inventory.hosts["h2"].address
    routes = {**dict(states["h1"].peer_routes.items()), h2: PeerRoute("eth1", gateway(h2))}
    states["h1"] = replace(states["h1"], peer_routes=PeerRoutes.of(routes))
    (problem,) = preflight.problems(inventory, states)
    assert problem.message == "its route to h2 (10.78.0.12) leads through the router 10.78.0.254"
    plain = example(tmp_path, FAR)
    problems = preflight.problems(plain, routed(plain))
    assert {each.host for each in problems} == {"h1", "h2", "h3"}
    assert all("name the ranges of all links as links" in str(each.hint) for each in problems)


def test_a_route_by_the_router_is_no_host_that_left(tmp_path: Path) -> None:
    """The kernel's route to a subnet of the other link leads to the router."""
    inventory = linked(tmp_path)
    states = routed(inventory)
    # Not one of `routers`: the first router of a link may be another than the speaker.
    leads = PeerRoutes.of(
        {IPv4Address("10.79.0.13"): PeerRoute("eth1", IPv4Address("10.78.0.253"))}
    )
    route = KernelRoute(IPv4Network("172.27.2.0/24"), "eth1", 186, via="10.78.0.253")
    states["h1"] = replace(states["h1"], routes=(route,), peer_routes=leads)
    assert not list(warnings(inventory, wanted(inventory, states), states))
    strange = route._replace(via="10.78.0.77")
    states["h1"] = replace(states["h1"], routes=(strange,))
    assert list(warnings(inventory, wanted(inventory, states), states))


@pytest.mark.parametrize("stays", [True, False])
def test_a_host_behind_a_router_that_left_is_named_by_its_subnet(
    tmp_path: Path, stays: bool
) -> None:
    """Also when no host of the file is on its link any more."""
    before = linked(tmp_path, changes=(NEW_HOSTS,))
    applied = wanted(before, routed(before))
    leaving = ("h5",) if stays else ("h3", "h5")
    parts = {"h2": 1, "h4": 3, "h3": 2, "h5": 4}
    fewer = (NEW_HOSTS[0], "h4: {address: 10.78.0.14}\n  h6: {address: 10.78.0.16}")
    without_h3 = (("  h3: {address: 10.79.0.13}\n", ""), (B3, ""))
    left = linked(tmp_path, changes=(fewer, *(() if stays else without_h3)))
    states = routed_to(left, parts)
    current = {ref: each for ref, each in applied.items() if ref.host in states.keys() - {"h6"}}
    settled = settled_inventory(left, current, facts=states).inventory
    # In the place of h5 a new host gets its subnet; else it gets one that nobody announces.
    assert str(settled.networks["core"].subnets["h6"]) == f"172.27.{4 if stays else 5}.0/24"
    (named,) = by_routes(settled, current, states)
    subnets = [f"172.27.{parts[host]}.0/24 of network 'core'" for host in leaving]
    assert f"hosts on other links (with {', '.join(subnets)})" in named, named
    # With --limit, the plan is that of one host, but the others were read.
    of_h1 = {ref: each for ref, each in current.items() if ref.host == "h1"}
    assert list(warnings(settled, of_h1, states, current)) == [named]
    # A host that was not read may have the subnet.
    unread = {name: state for name, state in states.items() if name != "h2"}
    assert not by_routes(settled, current, unread)


def by_routes(inventory: Inventory, current: State, states: dict[str, HostFacts]) -> list[str]:
    """The warnings of a plan of all hosts about routes of hosts that left."""
    lines = warnings(inventory, current, states, current)
    return [line for line in lines if "routes by BGP" in line]


def test_no_host_of_the_file_is_taken_for_one_that_left(tmp_path: Path) -> None:
    """Neither where all is as applied, nor by the copies that a restarted daemon keeps."""
    inventory = linked(tmp_path)
    states = routed_to(inventory, {"h2": 1, "h3": 2})
    current = wanted(inventory, states)
    assert not by_routes(inventory, current, states)
    copy = KernelRoute(IPv4Network("172.27.9.0/24"), "eth1", 241, via=NEAR_ROUTER)
    states["h1"] = replace(states["h1"], routes=(*states["h1"].routes, copy))
    assert not by_routes(inventory, current, states)
    # Of a host that has lost all but its daemon, the file tells the subnet.
    of_daemon = {ref: r for ref, r in current.items() if ref.host != "h3" or "bgp" in ref.name}
    assert not by_routes(inventory, of_daemon, states)


def test_a_silent_host_behind_a_router_may_have_a_subnet_that_nobody_explains(
    tmp_path: Path,
) -> None:
    """It keeps the subnet of its place, and a new host before it has to name its own."""
    before = linked(tmp_path)
    applied = wanted(before, routed(before))
    current = {ref: each for ref, each in applied.items() if ref.host != "h3"}
    first = "h1: {address: 10.78.0.11}"
    h3 = "  h3: {address: 10.79.0.13}\n"
    moved = linked(tmp_path, changes=((h3, ""), (first, f"{h3.strip()}\n  {first}")))
    states = {
        name: state for name, state in routed_to(moved, {"h2": 1, "h3": 2}).items() if name != "h3"
    }
    found = settled_inventory(moved, current, ("h3",), facts=states)
    assert str(found.inventory.networks["core"].subnets["h3"]) == "172.27.2.0/24"
    new = linked(tmp_path, changes=((h3, f"  h6: {{address: 10.78.0.16}}\n{h3}"),))
    states["h6"] = routed(new)["h6"]
    (problem,) = settled_inventory(new, current, ("h3",), facts=states).problems
    assert problem.host == "h6" and "might get that of h3, which cannot be asked" in str(problem)


def routed_to(inventory: Inventory, parts: dict[str, int]) -> dict[str, HostFacts]:
    """The facts of hosts of which h1 has learned these parts of the range, by host."""
    states = routed(inventory)
    near = {"h2": "10.78.0.12", "h4": "10.78.0.14"}
    routes = tuple(
        KernelRoute(IPv4Network(f"172.27.{n}.0/24"), "eth1", 186, via=near.get(name, NEAR_ROUTER))
        for name, n in parts.items()
    )
    accepted = KernelRoute(IPv4Network("10.200.0.0/16"), "eth1", 186, via=NEAR_ROUTER)
    states["h1"] = replace(states["h1"], routes=(*routes, accepted))
    return states


def test_verify_expects_the_routers_of_the_hosts_link(tmp_path: Path) -> None:
    """A session with the router of the other link would be one with a stranger."""
    inventory = linked(tmp_path)
    routes = {
        "172.27.0.0/24": "0.0.0.0",
        "172.27.1.0/24": "10.78.0.12",
        "172.27.2.0/24": "10.79.0.13",
    }
    up = dict.fromkeys(("10_78_0_12", "10_79_0_13", "10_78_0_254"), "Established")
    assert errors_of(inventory, answers(routes, left=True, **up)) == ("", "")
    sessions, _ = errors_of(inventory, answers(routes, **{**up, "10_79_0_254": "Established"}))
    assert sessions == "one with 10.79.0.254, which is no host of the network"


@pytest.mark.parametrize(
    ("links", "routers", "message"),
    [
        ("[]", ROUTERS, "the network has no link"),
        ("[10.78.0.0/24]", ROUTERS, "host 'h3' (10.79.0.13) is on none of the network's links"),
        ("[10.78.0.0/24]", ROUTERS, "router 10.79.0.254 is on none of the network's links"),
        ("[10.78.0.0/24, 10.78.0.0/16, 10.79.0.0/24]", ROUTERS, "links 10.78.0.0/24 and"),
        ("[10.78.0.0/24, 10.79.0.0/24, 172.27.0.0/24]", ROUTERS, "172.27.0.0/24 overlaps cidr"),
        (
            "[10.78.0.0/24, 10.79.0.0/24]",
            f"routers: [{{address: {NEAR_ROUTER}, asn: 64600}}]",
            "link 10.79.0.0/24 has no router, which would tell others of the subnets there",
        ),
        ("[10.78.0.7/24, 10.79.0.0/24]", ROUTERS, "10.78.0.7/24"),
    ],
)
def test_a_mistake_in_links_is_an_error_of_the_file(
    tmp_path: Path, links: str, routers: str, message: str
) -> None:
    """Each host and each router is on one link, and each link with hosts has a router."""
    with pytest.raises(InventoryError) as caught:
        example(tmp_path, FAR, ("# asn: 64512", f"links: {links}\n    {routers} #"))
    assert message in str(caught.value)

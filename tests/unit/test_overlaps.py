"""Ranges and routes of others in the range of a network: conflicts unless they are our own."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from provision.engine import desired
from provision.engine.overlaps import overlaps
from provision.facts import host_probe
from provision.facts.host import HostFacts, KernelRoute, Link
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, state
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.iptables_chain import IptablesChain, comment
from provision.resources.kinds.routes import Routes, row
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.lib.route_protocols import BOOT, KERNEL
from provision.resources.on_hosts import PROTO, UNMARKED, Mark
from tests.fakes import HOST

RANGE = IPv4Network("172.20.0.0/16")
PART = IPv4Network("172.20.77.0/24")
FOREIGN = KernelRoute(PART, "br-other", KERNEL)


def inventory(tmp_path: Path, network: str = "method: routes, cidr: 172.20.0.0/16") -> Inventory:
    """Two hosts with a network `n` of these keys."""
    path = tmp_path / "inventory.yml"
    path.write_text(
        "name: demo\n"
        "hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        f"networks: {{n: {{{network}}}}}\n"
    )
    return load(path)


def facts(*routes: KernelRoute) -> HostFacts:
    """The facts of a host with these routes."""
    return replace(host_probe.parse("h1", HOST), routes=routes)


def conflicts(
    inventory: Inventory, route: KernelRoute, *current: Resource
) -> list[tuple[str, str]]:
    """The host and message of each conflict of h1's route; `current` are our resources."""
    entries = overlaps(inventory, {"h1": facts(route)}, state(current), {})
    return [(conflict.ref.host, conflict.message) for conflict in entries]


def test_a_foreign_route_into_the_range_is_a_conflict(tmp_path: Path) -> None:
    """The message names both ranges and the interface."""
    assert conflicts(inventory(tmp_path), FOREIGN) == [
        ("h1", "172.20.0.0/16 overlaps 172.20.77.0/24 on br-other, outside this inventory")
    ]


def test_a_route_beside_the_range_is_no_conflict(tmp_path: Path) -> None:
    """The next range begins where this one ends."""
    route = KernelRoute(IPv4Network("172.21.0.0/24"), "br-other", KERNEL)
    assert not conflicts(inventory(tmp_path), route)


def test_a_summary_route_is_no_conflict_and_a_wider_range_of_an_interface_is(
    tmp_path: Path,
) -> None:
    """Others have addresses in the range of an interface; a VPN's route only covers ours."""
    network = inventory(tmp_path)
    for text in ("128.0.0.0/1", "172.16.0.0/12"):
        summary = KernelRoute(IPv4Network(text), "tun0", proto=3)
        assert not conflicts(network, summary)
        assert conflicts(network, summary._replace(proto=2))
    assert conflicts(network, KernelRoute(IPv4Network("172.20.0.0/16"), "tun0", proto=3))


def test_a_route_to_the_subnet_of_a_host_is_no_conflict_here(tmp_path: Path) -> None:
    """The plan itself reports that route or its bridge."""
    demo = inventory(tmp_path)
    subnet = demo.networks["n"].subnets["h2"]
    assert not conflicts(demo, KernelRoute(subnet, "br-other", KERNEL))


def test_own_routes_are_no_conflict(tmp_path: Path) -> None:
    """Mark and destination decide; a route of another program to the same range is a conflict."""
    ours = Routes.of("h1", "n", "demo", [row(str(PART), "", "eth1")])
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "eth1", PROTO), ours)
    assert conflicts(demo, KernelRoute(PART, "eth1", KERNEL), ours)
    on_h2 = replace(ours, host="h2")
    assert conflicts(demo, KernelRoute(PART, "eth1", PROTO), on_h2)


def test_a_bridge_of_an_own_docker_network_is_no_conflict(tmp_path: Path) -> None:
    """The range of the network may have changed since."""
    ours = DockerNetwork("h1", "n", PART, None, ((BRIDGE_NAME, "br-own"),), Mark("demo", "n"))
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "br-own", KERNEL), ours)
    assert conflicts(demo, FOREIGN, ours)


def test_docker0_is_no_conflict_for_a_network_on_it(tmp_path: Path) -> None:
    """The network replaces Docker's default bridge."""
    route = KernelRoute(PART, "docker0", KERNEL)
    options = "method: routes, cidr: 172.20.0.0/16"
    assert conflicts(inventory(tmp_path, options), route)
    assert not conflicts(inventory(tmp_path, f"{options}, bridge: docker0"), route)


def test_routes_of_an_own_flannel_are_no_conflict(tmp_path: Path) -> None:
    """They leave by its device, or are inside its range."""
    ours = Flannel("h1", "over", "vxlan", "flannel.1", RANGE, masquerade=True, inventory="demo")
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "flannel.1", KERNEL), ours)
    direct = KernelRoute(PART, "eth1", BOOT)
    assert not conflicts(demo, direct, ours)
    assert not conflicts(demo, direct, replace(ours, prefix_length=24))
    assert conflicts(demo, direct, replace(ours, cidr=IPv4Network("172.30.0.0/16")))


def test_other_routes_in_the_range_of_an_own_flannel_are_a_conflict(tmp_path: Path) -> None:
    """A bridge of others, a route to a part of a lease, with udp any but that of the range."""
    ours = Flannel("h1", "over", "vxlan", "flannel.1", RANGE, masquerade=True, inventory="demo")
    demo = inventory(tmp_path)
    assert conflicts(demo, FOREIGN, ours)
    part = KernelRoute(IPv4Network("172.20.77.0/25"), "eth1", BOOT)
    assert conflicts(demo, part, replace(ours, prefix_length=24))
    udp = replace(ours, backend="udp", device="flannel0")
    assert conflicts(demo, KernelRoute(PART, "eth1", BOOT), udp)
    # The next apply puts flanneld's own route in the place of these.
    assert not conflicts(demo, KernelRoute(RANGE, "eth1", BOOT), udp)


# As `ip -N -j route show table main` of iproute2 6.15 prints them.
REFUSED = (
    '[{"type":"6","dst":"172.20.0.0/25","flags":[]},'
    '{"type":"8","dst":"172.20.1.7","protocol":"4","flags":[]},'
    '{"dst":"172.20.1.128/25","flags":[],"nexthops":[{"gateway":"10.78.0.2","dev":"eth1",'
    '"weight":1,"flags":[]},{"gateway":"10.78.0.3","dev":"eth1","weight":1,"flags":[]}]}]'
)


@pytest.mark.parametrize(
    ("keys", "wide"),
    [
        ("method: routes, subnet_size: 24", False),
        ("method: wireguard, subnet_size: 24", False),
        ("method: flannel, subnet_size: 24, etcd: {members: [h1]}", False),
        ("method: ovs-gre, subnet_size: 24", True),
    ],
)
def test_routes_that_refuse_a_part_of_a_subnet_are_a_conflict(
    tmp_path: Path, keys: str, *, wide: bool
) -> None:
    """They have no device. Those beside the routes of the network take only what these leave.

    On one layer 2, one route leads to the whole range.
    """
    demo = inventory(tmp_path, f"{keys}, cidr: 172.20.0.0/16")
    assert _conflicts_of(demo, REFUSED) == [
        "172.20.0.0/16 overlaps blackhole 172.20.0.0/25, outside this inventory",
        "172.20.0.0/16 overlaps prohibit 172.20.1.7/32, outside this inventory",
        "172.20.0.0/16 overlaps 172.20.1.128/25 by several gateways, outside this inventory",
    ]
    for destination, expected in (
        ("172.20.1.0/24", wide),
        ("172.20.0.0/20", wide),
        ("172.20.0.0/16", False),
        ("172.16.0.0/12", False),
        ("172.21.0.0/25", False),
        ("default", False),
    ):
        refused = f'[{{"type":"7","dst":"{destination}","flags":[]}}]'
        assert bool(_conflicts_of(demo, refused)) is expected, destination


def _conflicts_of(inventory: Inventory, routes: str) -> list[str]:
    printed = "\n".join(f"routes {routes}" if line[:7] == "routes " else line for line in _LINES)
    assert routes in printed
    found = overlaps(inventory, {"h1": host_probe.parse("h1", printed)}, {}, {})
    return [conflict.message for conflict in found]


_LINES = HOST.splitlines()


def test_routes_with_several_gateways_of_a_large_fabric_take_no_time(tmp_path: Path) -> None:
    """Each of 250 hosts has one to each other, as in a network with two uplinks."""
    path = tmp_path / "fabric.yml"
    hosts = "".join(f"  h{k}: {{address: 10.78.0.{k}}}\n" for k in range(1, 251))
    keys = "method: routes, cidr: 172.20.0.0/16, subnet_size: 24"
    path.write_text(f"name: demo\nhosts:\n{hosts}networks: {{n: {{{keys}}}}}\n")
    demo = load(path)
    routes = tuple(KernelRoute(IPv4Network((11 << 24 | k << 8, 24)), "", 186) for k in range(250))
    of_host = replace(facts(), routes_without_device=routes)
    begin = time.process_time()
    assert not list(overlaps(demo, dict.fromkeys(demo.hosts, of_host), {}, {}))
    assert time.process_time() - begin < 1


def test_pipework_shares_its_range_with_the_hosts(tmp_path: Path) -> None:
    """Its range is the LAN of the hosts, to which they have routes."""
    lan = inventory(tmp_path, "method: pipework, cidr: 10.78.0.0/24")
    assert not conflicts(lan, KernelRoute(IPv4Network("10.78.0.0/24"), "eth1", KERNEL))


METHODS = {
    "routes": "method: routes",
    "docker0": "method: routes, bridge: docker0",
    "vxlan": "method: vxlan",
    "vxlan routed": "method: vxlan, mode: routed",
    "ovs-gre": "method: ovs-gre",
    "ovs-vxlan": "method: ovs-vxlan",
    "flannel vxlan": "method: flannel, etcd: {members: [h1]}",
    "flannel host-gw": "method: flannel, backend: host-gw, etcd: {members: [h1]}",
}


@pytest.mark.parametrize("keys", METHODS.values(), ids=METHODS)
def test_the_whole_range_of_another_inventory_is_a_conflict(tmp_path: Path, keys: str) -> None:
    """Also where it has no route, since none of its hosts has that part of the range."""
    first = inventory(tmp_path, f"{keys}, cidr: 172.20.0.0/16")
    host_facts = {
        host: replace(facts(), host=host, links=links_of(first, host)) for host in first.hosts
    }
    applied = desired.wanted(first, host_facts)
    second = inventory(tmp_path, "method: routes, cidr: 172.20.128.0/17")
    assert [
        (conflict.ref.host, conflict.message)
        for conflict in overlaps(second, host_facts, {}, applied)
    ] == [
        (
            host,
            "172.20.128.0/17 overlaps 172.20.0.0/16, the range of network 'n' of inventory 'demo'",
        )
        for host in ("h1", "h2")
    ]
    beside = inventory(tmp_path, "method: routes, cidr: 172.21.0.0/16")
    assert not list(overlaps(beside, host_facts, {}, applied))


def links_of(inventory: Inventory, host: str) -> dict[str, Link]:
    """The host's NIC with its address of the inventory."""
    address = IPv4Interface(f"{inventory.hosts[host].address}/24")
    return {"eth1": Link("eth1", 1500, (address,))}


def test_routes_in_the_range_of_another_inventory_are_not_told_again(tmp_path: Path) -> None:
    """One message for each of its networks, and none for a chain that others have edited."""
    mark = Mark("other", "blue")
    rules = (
        ("-s", "172.20.77.0/24", "-d", "172.20.64.0/18", *comment(mark), "-j", "ACCEPT"),
        ("-s", "nonsense", "-d", "172.20.0.0/14", *comment(mark), "-j", "ACCEPT"),
    )
    chain = IptablesChain("h1", "nat", "PROV-other-blue", "POSTROUTING", rules, mark)
    demo, foreign = inventory(tmp_path), state([chain])
    host_facts = {"h1": facts(FOREIGN, FOREIGN._replace(dst=IPv4Network("172.20.9.0/24")))}
    assert [conflict.message for conflict in overlaps(demo, host_facts, {}, foreign)] == [
        "172.20.0.0/16 overlaps 172.20.64.0/18, the range of network 'blue' of inventory 'other'",
        "172.20.0.0/16 overlaps 172.20.9.0/24 on br-other, outside this inventory",
    ]


def test_a_pool_of_another_inventory_is_a_conflict(tmp_path: Path) -> None:
    """Docker would give an address of the LAN to two containers."""
    lan = IPv4Network("10.78.0.0/24")
    part = IPv4Network("10.78.0.232/30")
    theirs = DockerNetwork("h2", "lan", lan, None, (), Mark("other", "lan"), part)
    strangers = replace(theirs, network="x", mark=UNMARKED)
    elsewhere = replace(theirs, host="h9")
    foreign = state([theirs, strangers, elsewhere])
    keys = "method: pipework, cidr: 10.78.0.0/24"
    ours = inventory(tmp_path, f"{keys}, pool: 10.78.0.224/28")
    assert [(c.ref.host, c.message) for c in overlaps(ours, {}, {}, foreign)] == [
        (
            "h2",
            "pool 10.78.0.224/28 overlaps 10.78.0.232/30, from which network 'lan' of inventory "
            "'other' gives addresses",
        )
    ]
    for pool in (", pool: 10.78.0.208/28", ""):
        assert not list(overlaps(inventory(tmp_path, keys + pool), {}, {}, foreign))


@pytest.mark.parametrize(("access", "found"), [("[hosts]", ["h1"]), ("[]", [])])
def test_a_host_outside_gets_no_route_into_a_range_of_its_own(
    tmp_path: Path, access: str, found: list[str]
) -> None:
    """With `access: [hosts]`, h1 has routes to containers, though it is not in the network."""
    keys = f"method: routes, cidr: 172.20.0.0/16, hosts: [h2, h3], access: {access}"
    hosts = ", ".join(f"h{n}: {{address: 10.78.0.1{n}}}" for n in (1, 2, 3))
    path = tmp_path / "three.yml"
    path.write_text(f"name: demo\nhosts: {{{hosts}}}\nnetworks: {{n: {{{keys}}}}}\n")
    assert [host for host, _ in conflicts(load(path), FOREIGN)] == found

"""Routes of a host into the range of a network: whose they are decides if they are a conflict."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

from provision.engine.overlaps import overlaps
from provision.facts import host_probe
from provision.facts.host import HostFacts, KernelRoute
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, state
from provision.resources.kinds.docker_network import BRIDGE_NAME, DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.route import PROTO, Route
from provision.resources.on_hosts import Mark
from tests.fakes import HOST

RANGE = IPv4Network("172.20.0.0/16")
PART = IPv4Network("172.20.77.0/24")
KERNEL = 2
FOREIGN = KernelRoute(PART, "br-other", KERNEL)


def inventory(tmp_path: Path, network: str = "method: routes, cidr: 172.20.0.0/16") -> Inventory:
    path = tmp_path / "inventory.yml"
    path.write_text(
        "name: demo\n"
        "hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        f"networks: {{n: {{{network}}}}}\n"
    )
    return load(path)


def facts(*routes: KernelRoute) -> HostFacts:
    return replace(host_probe.parse("h1", HOST), routes=routes)


def conflicts(
    inventory: Inventory, route: KernelRoute, *current: Resource
) -> list[tuple[str, str]]:
    found = overlaps(inventory, {"h1": facts(route)}, state(current))
    return [(conflict.ref.host, conflict.message) for conflict in found]


def test_a_route_of_others_into_the_range_is_a_conflict(tmp_path: Path) -> None:
    """The message names both ranges and the interface."""
    assert conflicts(inventory(tmp_path), FOREIGN) == [
        ("h1", "172.20.0.0/16 overlaps 172.20.77.0/24 on br-other, outside this inventory")
    ]


def test_a_route_beside_the_range_is_no_conflict(tmp_path: Path) -> None:
    """The next range begins where this one ends."""
    route = KernelRoute(IPv4Network("172.21.0.0/24"), "br-other", KERNEL)
    assert not conflicts(inventory(tmp_path), route)


def test_the_subnets_of_hosts_are_left_to_the_plan(tmp_path: Path) -> None:
    """It names the route or the bridge itself."""
    demo = inventory(tmp_path)
    subnet = demo.networks["n"].subnets["h2"]
    assert not conflicts(demo, KernelRoute(subnet, "br-other", KERNEL))


def test_own_routes_are_no_conflict(tmp_path: Path) -> None:
    """By mark and destination; the same destination by another program is one."""
    own = Route("h1", PART, None, "eth1", "demo")
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "eth1", PROTO), own)
    assert conflicts(demo, KernelRoute(PART, "eth1", KERNEL), own)
    elsewhere = replace(own, host="h2")
    assert conflicts(demo, KernelRoute(PART, "eth1", PROTO), elsewhere)


def test_a_bridge_of_an_own_docker_network_is_no_conflict(tmp_path: Path) -> None:
    """Such as after the range of the network was changed."""
    own = DockerNetwork("h1", "n", PART, None, ((BRIDGE_NAME, "br-own"),), Mark("demo", "n"))
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "br-own", KERNEL), own)
    assert conflicts(demo, FOREIGN, own)


def test_docker0_is_no_conflict_for_a_network_on_it(tmp_path: Path) -> None:
    """The network takes its place."""
    route = KernelRoute(PART, "docker0", KERNEL)
    options = "method: routes, cidr: 172.20.0.0/16"
    assert conflicts(inventory(tmp_path, options), route)
    assert not conflicts(inventory(tmp_path, f"{options}, bridge: docker0"), route)


def test_traces_of_an_own_flannel_are_no_conflict(tmp_path: Path) -> None:
    """By its device, or inside its range."""
    own = Flannel("h1", "over", "vxlan", "flannel.1", RANGE, masquerade=True, inventory="demo")
    demo = inventory(tmp_path)
    assert not conflicts(demo, KernelRoute(PART, "flannel.1", KERNEL), own)
    assert not conflicts(demo, FOREIGN, own)
    assert conflicts(demo, FOREIGN, replace(own, cidr=IPv4Network("172.30.0.0/16")))


def test_pipework_shares_its_range_with_the_hosts(tmp_path: Path) -> None:
    """Its range is their LAN."""
    lan = inventory(tmp_path, "method: pipework, cidr: 10.78.0.0/24")
    assert not conflicts(lan, KernelRoute(IPv4Network("10.78.0.0/24"), "eth1", KERNEL))

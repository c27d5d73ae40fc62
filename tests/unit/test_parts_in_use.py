"""Bridges, routes and Docker networks of others on exactly the part of a host are conflicts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provision.engine.parts_in_use import parts_in_use
from provision.facts.host import KernelRoute
from provision.resources.base import Resource, state
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.flannel import Flannel
from provision.resources.kinds.routes import Routes, row
from provision.resources.lib.network_options import BRIDGE_NAME
from provision.resources.lib.route_claims import FOREIGN
from provision.resources.lib.route_protocols import BOOT, KERNEL
from provision.resources.on_hosts import PROTO, UNMARKED, Mark
from tests.unit.test_overlaps import RANGE, facts, inventory

OWN, PEER = IPv4Network("172.20.0.0/24"), IPv4Network("172.20.1.0/24")
DOCKER0 = Docker0("h1", (), (), "demo")
WANTED = DockerNetwork("h1", "n", OWN, None, ((BRIDGE_NAME, "br-n-x"),), Mark("demo", "n"))


def conflicts(
    tmp_path: Path,
    route: KernelRoute | None = None,
    *,
    current: tuple[Resource, ...] = (),
    foreign: tuple[Resource, ...] = (),
    wanted: tuple[Resource, ...] = (WANTED,),
    options: str = "method: routes, cidr: 172.20.0.0/16",
) -> list[str]:
    """The messages for a host with this route and these resources."""
    routes = (route,) if route else ()
    states = map(state, (current, foreign, wanted))
    entries = parts_in_use(inventory(tmp_path, options), {"h1": facts(*routes)}, *states)
    return [conflict.message for conflict in entries]


def test_a_foreign_bridge_on_the_part_of_the_host_is_a_conflict(tmp_path: Path) -> None:
    """So is a route to the part of a peer, where no route of ours is planned."""
    for subnet in (OWN, PEER):
        message = f"{subnet} is in use on br-other, outside this inventory"
        assert conflicts(tmp_path, KernelRoute(subnet, "br-other", KERNEL)) == [message]


def test_own_bridges_and_routes_are_no_conflict(tmp_path: Path) -> None:
    """A bridge by its name, a route that is planned or removed, and flanneld's routes."""
    assert not conflicts(tmp_path, KernelRoute(OWN, "br-n-x", KERNEL), current=(WANTED,))
    planned = Routes.of("h1", "n", "demo", [row(str(PEER), "", "eth1")])
    assert not conflicts(tmp_path, KernelRoute(PEER, "eth9", KERNEL), wanted=(planned,))
    # The subnet of a peer that has left the file is another peer's now: its route is replaced.
    assert not conflicts(tmp_path, KernelRoute(PEER, "eth9", KERNEL), current=(planned,))
    flannel = Flannel("h1", "n", "host-gw", "", RANGE, masquerade=False, inventory="demo")
    assert not conflicts(tmp_path, KernelRoute(PEER, "eth1", BOOT), current=(flannel,))
    docker0 = "method: routes, cidr: 172.20.0.0/16, bridge: docker0"
    assert not conflicts(tmp_path, KernelRoute(OWN, "docker0", KERNEL), options=docker0)


@pytest.mark.parametrize("proto", [KERNEL, PROTO, 186])
def test_a_route_of_others_is_none_of_flanneld(tmp_path: Path, proto: int) -> None:
    """One of an interface, of another inventory or of a routing daemon, in the range of flannel."""
    flannel = Flannel("h1", "n", "host-gw", "", RANGE, masquerade=False, inventory="demo")
    taken = replace(flannel, blocked=(str(PEER),))
    (message,) = conflicts(tmp_path, KernelRoute(PEER, "eth9", proto), current=(taken,))
    assert message == f"{PEER} is in use on eth9, outside this inventory"
    # A daemon that redistributes flanneld's routes has the same ones, with a higher metric.
    behind = conflicts(tmp_path, KernelRoute(PEER, "eth9", proto), current=(flannel,))
    assert bool(behind) == (proto != 186)


def test_a_route_of_others_in_the_place_of_a_wanted_one_is_a_conflict(tmp_path: Path) -> None:
    """The conflict names this route alone; one that no table wants is none."""
    rows = [row(f"172.20.{n}.0/24", "10.78.0.9", "eth1") for n in (1, 2, 3)]
    planned = Routes.of("h1", "n", "demo", rows)
    others = Routes.of("h1", FOREIGN, "demo", [rows[1], row("172.20.9.0/24", "", "eth1")])
    assert conflicts(tmp_path, foreign=(others,), wanted=(planned,)) == [
        "route 172.20.2.0/24 exists outside this inventory"
    ]


def test_a_docker_network_of_any_driver_on_the_part_is_a_conflict(tmp_path: Path) -> None:
    """Docker has no route to the subnet of a macvlan network, and refuses a second such pool.

    With such a subnet for its default bridge, dockerd would not start (moby#46098).
    """
    other = replace(WANTED, network="lan", options=(), driver="macvlan", mark=UNMARKED)
    (message,) = conflicts(tmp_path, foreign=(other,))
    assert message == (
        "172.20.0.0/24 overlaps 172.20.0.0/24 of Docker network lan (macvlan), "
        "outside this inventory"
    )
    docker0 = replace(DOCKER0, effective=(("mtu", "1500"), ("subnet", "172.20.0.0/24")))
    assert conflicts(tmp_path, foreign=(other,), wanted=(docker0,)) == [message]
    assert not conflicts(tmp_path, foreign=(other,), wanted=(DOCKER0,))
    apart = replace(other, subnet=IPv4Network("172.30.0.0/24"))
    assert not conflicts(tmp_path, foreign=(apart, replace(other, host="h2")))


LAN = "method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28"


@pytest.mark.parametrize(
    ("subnet", "name", "docker0", "named"),
    [
        ("10.78.0.128/25", "old", False, True),
        ("10.78.0.0/24", "old", True, True),
        ("10.79.0.0/24", "old", False, False),
        # Docker's own bridge is in the way of a network, but not of what replaces it.
        ("10.78.0.0/16", "bridge", False, True),
        ("10.78.0.0/16", "bridge", True, False),
    ],
)
def test_a_docker_network_with_the_range_of_the_lan_is_a_conflict(
    tmp_path: Path, subnet: str, name: str, *, docker0: bool, named: bool
) -> None:
    """No route into the range of the LAN is a conflict, as each host of it has one."""
    range_ = IPv4Network("10.78.0.0/24")
    own: Resource = replace(WANTED, subnet=range_)
    if docker0:
        own = replace(DOCKER0, effective=(("subnet", str(range_)),))
    other = DockerNetwork("h1", name, IPv4Network(subnet), None, (), UNMARKED)
    messages = conflicts(tmp_path, foreign=(other,), wanted=(own,), options=LAN)
    text = f"10.78.0.0/24 overlaps {subnet} of Docker network {name} (bridge), "
    assert messages == ([f"{text}outside this inventory"] if named else [])

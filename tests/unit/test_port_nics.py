"""Routes over a NIC that is, or becomes, a port of a bridge with the NIC's addresses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import desired, preflight
from provision.engine.port_nics import with_port_nics
from provision.facts import nics
from provision.facts.gather import HostSnapshot
from provision.facts.host import HostFacts, Link
from provision.facts.lines import KeyedLines
from provision.facts.nics import Nic
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Ref
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.kinds.routes import Routes
from provision.resources.lib.network_options import TRUSTED
from provision.resources.lib.nic_records import NicRoute, parse_record
from tests.unit.test_released_nics import ADDRESS, OWN, PEER, VETH, pipework_facts

LAN = "{method: pipework, cidr: 10.78.0.0/24, pool: 10.78.0.224/28}"
KINDS = {
    "linux": (LAN, Ref("h1", "lan_bridge", "bri0"), "bri0"),
    "veth": (LAN.replace("{", "{host_port: veth, "), Ref("h1", "lan_bridge", "bri0"), "host-"),
    "ovs": (
        "{method: pipework, kind: ovs, cidr: 10.78.0.0/24}",
        Ref("h1", "lan_bridge_ovs", "bri0"),
        "bri0",
    ),
    "netdev": (
        "{method: ovs-gre, cidr: 172.30.0.0/16, datapath: netdev}",
        Ref("h1", "ovs_uplink", "eth1"),
        "phy-eth1",
    ),
}


def inventory(tmp_path: Path, *, routes: str, other: str) -> Inventory:
    """An inventory of two hosts, whose NIC is named, with these two networks."""
    path = tmp_path / "it.yml"
    path.write_text(
        "name: it\nhosts:\n  h1: {address: 10.78.0.11, nic: eth1}\n"
        f"  h2: {{address: 10.78.0.12}}\nnetworks:\n  blue: {routes}\n  lan: {other}\n"
    )
    return load(path)


def unmoved() -> HostFacts:
    """The facts of a host whose eth1 is a port of nothing."""
    return replace(
        pipework_facts(),
        bridged_nics={},
        links={"eth1": Link("eth1", 1500, (OWN,))},
        peer_routes=PeerRoutes.of({PEER: PeerRoute("eth1", None)}),
        nics={
            "eth1": Nic(
                "eth1", managers=("systemd-networkd",), network="[Match]\n", addresses=(ADDRESS,)
            )
        },
        default_routes=(),
    )


def table(inventory: Inventory, facts: HostFacts) -> Routes:
    """The wanted routes of network `blue`."""
    snapshot = with_port_nics(inventory, HostSnapshot(facts, {}, {}))
    assert not list(preflight.problems(inventory, {"h1": snapshot.facts}))
    routes = desired.wanted(inventory, {"h1": snapshot.facts})[Ref("h1", "routes", "blue")]
    assert isinstance(routes, Routes)
    return routes


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_apply_makes_the_routes_over_the_bridge(tmp_path: Path, kind: str) -> None:
    """After the bridge; existing routes follow the addresses, and are not made anew."""
    other, bridge, holder = KINDS[kind]
    both = inventory(tmp_path, routes="{method: routes, cidr: 172.16.0.0/16}", other=other)
    facts = replace(unmoved(), tools=frozenset([*unmoved().tools, "ovs-vsctl", "ethtool"]))
    routes = table(both, facts)
    assert {row.dev.startswith(holder) for row in routes.rows} == {True}
    assert (routes.requires(), routes.after()) == ((), (bridge,))


def test_routes_over_an_existing_bridge_need_it(tmp_path: Path) -> None:
    """They are lost with it. The NIC that the inventory names is the bridge's port."""
    routes = "{method: routes, cidr: 172.16.0.0/16}"
    both = inventory(tmp_path, routes=routes, other=LAN)
    existing = table(both, pipework_facts())
    assert {row.dev for row in existing.rows} == {"bri0"}
    assert (existing.requires(), existing.after()) == ((KINDS["linux"][1],), ())
    # A host whose NIC no network takes is as it was.
    alone = inventory(tmp_path, routes=routes, other="{method: vxlan, cidr: 172.30.0.0/16}")
    snapshot = HostSnapshot(unmoved(), {}, {})
    assert with_port_nics(alone, snapshot) is snapshot


def test_docker_trusts_the_bridge_below_the_veth_of_the_host(tmp_path: Path) -> None:
    """With br_netfilter, packets pass Docker's raw table at the bridge, then at the veth."""
    routes = "{method: routes, cidr: 172.16.0.0/16}"
    both = inventory(tmp_path, routes=routes, other=KINDS["veth"][0])
    facts = with_port_nics(both, HostSnapshot(replace(unmoved(), docker=(28, 5)), {}, {})).facts
    network = desired.wanted(both, {"h1": facts})[Ref("h1", "docker_network", "blue")]
    assert isinstance(network, DockerNetwork)
    first, second = dict(network.options)[TRUSTED].split(":")
    assert first == "bri0" and second.startswith("host-")


def test_the_nic_of_a_host_may_be_a_port_of_another_inventory(tmp_path: Path) -> None:
    """Its packets leave by that NIC all the same."""
    routes = "{method: routes, cidr: 172.16.0.0/16}"
    alone = inventory(tmp_path, routes=routes, other="{method: vxlan, cidr: 172.30.0.0/16}")
    facts = replace(pipework_facts(), bridged_nics={})
    assert not list(preflight.problems(alone, {"h1": facts}))
    apart = replace(facts, nics={**facts.nics, "eth1": Nic("eth1", master="other")})
    assert "not by eth1" in str(list(preflight.problems(alone, {"h1": apart})))


def test_routes_of_networks_are_no_settings_of_a_nic() -> None:
    """Otherwise the NIC would get them back from its record after their inventory has ended."""
    routes = """[
      {"dst": "172.16.1.0/24", "gateway": "10.78.0.12", "dev": "eth1", "protocol": "240"},
      {"dst": "10.5.0.0/16", "gateway": "10.78.0.1", "dev": "eth1", "protocol": "4"}
    ]"""
    lines = KeyedLines(f"every_route {' '.join(routes.split())}\n")
    parsed = nics.parse(lines, [{"ifname": "eth1", "mtu": 1500}], {})["eth1"]
    kept = NicRoute("10.5.0.0/16", via="10.78.0.1", proto="4")
    assert parsed.routes == (kept,)
    original = pipework_facts(VETH).bridged_nics["bri0"]
    ours = NicRoute("172.16.1.0/24", via="10.78.0.12", proto="240")
    # A record that version 0.1.0 has made.
    assert parse_record(replace(original, routes=(kept, ours)).record).routes == (kept,)

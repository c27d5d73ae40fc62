"""The class Method: what all methods share, each tested on every method that has it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provision import methods
from provision.facts.host import HostFacts, Link, PeerRoute
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.lib import ovsdb
from tests.cases.test_cases import facts
from tests.house.test_structure import ROOT

DOCKER = {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}
ROUTED_BY_HOST = ("routes", "vxlan", "ovs-gre", "ovs-vxlan", "flannel-vxlan", "flannel-host-gw")
"""Examples of methods that send to peers by the host's own routes."""


def with_nic(folder: Path, example: str, nic: str) -> tuple[Inventory, dict[str, HostFacts]]:
    """An example whose h1 has the key `nic`, and its hosts as they are before the first apply."""
    text = (ROOT / "inventories" / f"{example}.yml").read_text()
    plain = "h1: {address: 10.78.0.11}"
    assert plain in text
    path = folder / "inventory.yml"
    path.write_text(text.replace(plain, f"h1: {{address: 10.78.0.11, nic: {nic}}}"))
    inventory = load(path)
    return inventory, facts(inventory, {"docker": DOCKER})


def behind_open_vswitch(host: HostFacts) -> HostFacts:
    """A host whose eth1 is a port of a bridge of ours, which holds its addresses and routes."""
    bridge = f"{ovsdb.NIC_BRIDGE}eth1"
    link = Link(bridge, 1500, (IPv4Interface("10.78.0.11/24"),))
    return replace(
        host,
        links={bridge: link, "eth1": Link("eth1", 1500, ())},
        peer_routes={peer: PeerRoute(bridge, None) for peer in host.peer_routes},
        ovs_nic_by_bridge={bridge: "eth1"},
    )


@pytest.mark.parametrize("example", ROUTED_BY_HOST)
def test_a_nic_under_open_vswitch_is_still_the_hosts_nic(tmp_path: Path, example: str) -> None:
    """`nic: eth1` names the NIC below the bridge by which the peers are reached."""
    inventory, hosts = with_nic(tmp_path, example, "eth1")
    network = next(iter(inventory.networks.values()))
    method = methods.of(network)
    assert not list(method.check_host(inventory, network, behind_open_vswitch(hosts["h1"])))


@pytest.mark.parametrize("example", ROUTED_BY_HOST)
def test_peers_must_be_reached_by_the_named_nic(tmp_path: Path, example: str) -> None:
    """A host whose routes to its peers leave by another interface is refused."""
    inventory, hosts = with_nic(tmp_path, example, "eth2")
    network = next(iter(inventory.networks.values()))
    messages = [p.message for p in methods.of(network).check_host(inventory, network, hosts["h1"])]
    assert messages == [
        "h2 (10.78.0.12) is reached by eth1, not by eth2",
        "h3 (10.78.0.13) is reached by eth1, not by eth2",
    ]

"""Warnings of a plan about hosts and networks that have left the file, and subnets that move."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provision.engine import desired, host_subnets
from provision.engine.departures import warnings
from provision.facts import host_probe
from provision.facts.host import HostFacts, Link
from provision.inventory.load import load
from provision.model.inventory import Inventory
from provision.resources.base import Resource, State, state
from provision.resources.kinds.docker0 import Docker0
from provision.resources.kinds.etcd_config import EtcdConfig
from provision.resources.lib import etcd_keys
from tests.fakes import HOST


def advice(tmp_path: Path) -> str:
    """The end of each warning; the command names the file as it was named."""
    return (
        ". A host that has left the file keeps its containers, networks and routes: add it again, "
        f"run `provision destroy {tmp_path}/inventory.yml --limit HOST`, then remove it"
    )


def inventory(
    tmp_path: Path, keys: str, *, hosts: str = "h1 h2 h3", network: str = "blue"
) -> Inventory:
    """The hosts of a fleet with one network of these keys."""
    members = "".join(
        f"  {host}: {{address: 10.78.0.1{host.removeprefix('h')}}}\n" for host in hosts.split()
    )
    path = tmp_path / "inventory.yml"
    path.write_text(
        f"name: demo\nhosts:\n{members}networks:\n  {network}: {{{keys}, cidr: 172.20.0.0/16}}\n"
    )
    return load(path)


def applied(inventory: Inventory) -> State:
    """The resources of an inventory on its hosts."""
    return desired.wanted(inventory, {host: facts(inventory, host) for host in inventory.hosts})


def facts(inventory: Inventory, host: str) -> HostFacts:
    """The facts of a host with its address of the inventory."""
    address = IPv4Interface(f"{inventory.hosts[host].address}/24")
    return replace(host_probe.parse(host, HOST), links={"eth1": Link("eth1", 1500, (address,))})


def left(tmp_path: Path, keys: str, hosts: str) -> list[str]:
    """The warnings when only `hosts` remain of three hosts."""
    current = applied(inventory(tmp_path, keys))
    remaining = inventory(tmp_path, keys, hosts=hosts)
    return list(
        warnings(remaining, {r: v for r, v in current.items() if r.host in remaining.hosts}, {})
    )


_SUBNET = " (with 172.20.2.0/24 of network 'blue')"


@pytest.mark.parametrize(
    "keys, nouns, subnet",
    [
        ("method: routes", "routes", _SUBNET),
        ("method: vxlan", "FDB entries", ""),
        ("method: vxlan, mode: routed", "FDB entries", _SUBNET),
        ("method: ovs-gre", "tunnels", ""),
        ("method: ovs-vxlan", "tunnels", ""),
    ],
)
def test_a_host_that_left_is_named_by_its_peers(
    tmp_path: Path, keys: str, nouns: str, subnet: str
) -> None:
    """With its subnet, where the peers have that: on one layer 2 they do not."""
    assert left(tmp_path, keys, "h1 h2") == [
        f"h1, h2: {nouns} of hosts that are not in this file: 10.78.0.13{subnet}{advice(tmp_path)}"
    ]
    assert left(tmp_path, keys, "h1 h2 h3") == []


def test_a_lease_and_a_member_of_etcd_name_a_host_that_left(tmp_path: Path) -> None:
    """etcd has the names of hosts."""
    record = f"{etcd_keys.claims_prefix('demo', 'blue')}/hosts/h3"
    config = EtcdConfig(
        "h1",
        "blue",
        "/flannel",
        "{}",
        "cluster",
        ("h1", "h4"),
        "demo",
        stale=("/flannel/subnets/172.20.2.0-24", record),
    )
    keys = "method: flannel, etcd: {members: [h1]}"
    remaining = inventory(tmp_path, keys, hosts="h1 h2")
    assert list(warnings(remaining, state([config]), {})) == [
        f"h1: etcd members and leases of hosts that are not in this file: h3, h4{advice(tmp_path)}"
    ]


def test_a_host_that_wrote_the_settings_of_flannel_is_named(tmp_path: Path) -> None:
    """Its lease is recorded by no other host; the rules for etcd hold its address."""
    keys = "method: flannel, etcd: {members: [h2]}"
    assert left(tmp_path, keys, "h2 h3")[0] == (
        f"h2: firewall rules of hosts that are not in this file: 10.78.0.11{advice(tmp_path)}"
    )


def test_a_subnet_that_the_file_gives_to_another_host_moves(tmp_path: Path) -> None:
    """Nothing else moves a host, so that the written subnet is the thing to change."""
    current = applied(inventory(tmp_path, "method: routes", hosts="h1 h2"))
    taken = inventory(tmp_path, "method: routes, subnets: {h3: 172.20.1.0/24}", hosts="h1 h2 h3")
    settled = host_subnets.settled_inventory(taken, current).inventory
    assert list(warnings(settled, current, {})) == [
        "network 'blue': subnets move, and containers there get other addresses: "
        "h2 172.20.1.0/24 → 172.20.2.0/24. "
        "They stay where subnets and subnet_size of the network leave room for them"
    ]


def test_another_range_moves_without_a_warning(tmp_path: Path) -> None:
    """It was written on purpose, and no subnet of it can be kept."""
    current = applied(inventory(tmp_path, "method: routes"))
    path = tmp_path / "inventory.yml"
    path.write_text(path.read_text().replace("172.20.0.0", "172.21.0.0"))
    assert not list(warnings(load(path), current, {}))


@pytest.mark.parametrize(
    "keys",
    [
        "method: routes",
        "method: vxlan",
        "method: ovs-gre",
        "method: flannel, etcd: {members: [h1]}",
    ],
)
def test_a_network_that_left_is_named_with_its_hosts(tmp_path: Path, keys: str) -> None:
    """Once, whatever the number of its resources."""
    current = applied(inventory(tmp_path, keys))
    other = inventory(tmp_path, keys, network="green")
    assert list(warnings(other, current, {})) == [
        "network 'blue' is not in this file any more: it is removed from h1, h2, h3"
    ]


def test_an_untouched_default_bridge_is_no_subnet(tmp_path: Path) -> None:
    """A docker0 without reported values tells no subnet."""
    unread: list[Resource] = [Docker0("h1", (), (), "demo")]
    docker0 = inventory(tmp_path, "method: routes, bridge: docker0")
    assert not list(warnings(docker0, state(unread), {}))

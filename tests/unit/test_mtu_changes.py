"""A plan says which NIC is the reason that a network's packets change their size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine.mtu_changes import warnings
from provision.engine.plan import Change, plan
from provision.facts import host_probe
from provision.inventory.load import load
from provision.resources.base import state
from provision.resources.kinds.docker_network import DockerNetwork
from provision.resources.lib.network_options import MTU
from provision.resources.on_hosts import Mark
from tests.fakes import HOST

TEXT = """
name: demo
hosts: {h1: {address: ADDRESS}, h2: {address: 10.78.0.12}}
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
containers: {web: {host: h1, network: blue}, db: {host: h2, network: blue}}
"""
FACTS = host_probe.parse("h1", HOST)


def resized(old: int, new: int) -> tuple[Change, ...]:
    """The changes of a Docker network to another size of packets."""
    before, after = (
        DockerNetwork("h1", "blue", None, None, ((MTU, str(mtu)),), Mark("demo", "blue"))
        for mtu in (old, new)
    )
    return plan(state([before]), state([after])).changes


@pytest.mark.parametrize(
    ("old", "new", "lines"), [(1500, 1400, 1), (1400, 1500, 1), (1500, 1500, 0)]
)
def test_a_nic_decides_the_size_of_packets(tmp_path: Path, old: int, new: int, lines: int) -> None:
    """The line has both sizes and the NIC with the smallest; a size in the file needs none."""
    address = next(iter(FACTS.links["eth1"].addresses)).ip
    path = tmp_path / "i.yml"
    path.write_text(TEXT.replace("ADDRESS", str(address)))
    small = replace(FACTS, links={**FACTS.links, "eth1": replace(FACTS.links["eth1"], mtu=new)})
    inventory = load(path)
    expected = (
        f"network 'blue': the MTU of its containers changes from {old} to {new}, since eth1 of h1 "
        f"has MTU {new}, the smallest of its hosts"
    )
    assert list(warnings(inventory, {"h1": small}, resized(old, new))) == [expected] * lines
    path.write_text(path.read_text().replace("cidr:", "mtu: 1400, cidr:"))
    assert not list(warnings(load(path), {"h1": small}, resized(old, new)))

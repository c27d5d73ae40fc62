"""Methods replace each other on booted hosts: each takes the NIC from the one before."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Hosts, assert_same

pytestmark = [pytest.mark.lab, pytest.mark.full]

CHAIN = ("routes", "wireguard", "pipework", "ovs-gre", "pipework", "ovs-vxlan", "routes")


def method_inventory(hosts: Hosts, method: str) -> str:
    """Write the inventory `it` with this method into the lab's folder; its file name."""
    data = hosts.networks[1]
    ranges = "cidr: 172.16.0.0/16"
    if method == "pipework":
        ranges = f"cidr: {data}.0/24, pool: {data}.224/28"
    members = "".join(f"  h{n}: {{address: {data}.{10 + n}}}\n" for n in (1, 2, 3))
    containers = "".join(f"  c{n}: {{host: h{n}, network: n}}\n" for n in (1, 2, 3))
    text = f"name: it\nhosts:\n{members}networks:\n  n: {{method: {method}, {ranges}}}\n"
    (hosts.lab.folder / "switch.yml").write_text(f"{text}containers:\n{containers}")
    return "switch.yml"


def test_each_method_replaces_the_one_before_in_one_apply(mixed: Hosts) -> None:
    """Verify passes and the plan is empty after each apply; destroy restores the hosts."""
    before = mixed.capture()
    try:
        for method in CHAIN:
            inventory = method_inventory(mixed, method)
            mixed.provision("apply", inventory, "--yes")
            assert mixed.json("verify", inventory)["ok"], method
            assert mixed.json("plan", inventory)["changes"] == [], method
    finally:
        mixed.provision("destroy", "switch.yml", "--yes")
    assert_same(before, mixed.capture())

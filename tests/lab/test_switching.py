"""One method in the place of another on booted hosts, where each takes the NIC from the other."""

from __future__ import annotations

import pytest

from tests.lab.hosts import Hosts, assert_same

pytestmark = [pytest.mark.lab, pytest.mark.full]

CHAIN = ("routes", "pipework", "ovs-gre", "pipework", "ovs-vxlan", "routes")


def written(hosts: Hosts, method: str) -> str:
    """An inventory of one name, whatever the method; its file in the lab's folder."""
    data = hosts.networks[1]
    where = "cidr: 172.16.0.0/16"
    if method == "pipework":
        where = f"cidr: {data}.0/24, pool: {data}.224/28"
    members = "".join(f"  h{n}: {{address: {data}.{10 + n}}}\n" for n in (1, 2, 3))
    containers = "".join(f"  c{n}: {{host: h{n}, network: n}}\n" for n in (1, 2, 3))
    text = f"name: it\nhosts:\n{members}networks:\n  n: {{method: {method}, {where}}}\n"
    (hosts.lab.folder / "switch.yml").write_text(f"{text}containers:\n{containers}")
    return "switch.yml"


def test_a_method_takes_the_nic_from_another(mixed: Hosts) -> None:
    """Each is proven and needs no second apply; at the end the hosts are as they were."""
    before = mixed.capture()
    try:
        for method in CHAIN:
            inventory = written(mixed, method)
            mixed.provision("apply", inventory, "--yes")
            assert mixed.json("verify", inventory)["ok"], method
            assert mixed.json("plan", inventory)["changes"] == [], method
    finally:
        mixed.provision("destroy", "switch.yml", "--yes")
    assert_same(before, mixed.capture())

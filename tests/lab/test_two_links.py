"""Methods for hosts of several links, between which a router knows nothing of containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provision.inventory.load import load
from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import wait_for_output
from tests.lab.two_links import moved, on_two_links

pytestmark = pytest.mark.lab

EXAMPLES = {
    "vxlan.yml": "",
    "vxlan.yml routed": "mode: routed",
    "vxlan-evpn.yml bfd": "bfd: true",
    "ovs-gre.yml": "",
    "ovs-vxlan.yml": "",
    "wireguard.yml": "",
    "flannel-vxlan.yml": "",
    "flannel-udp.yml": "",
}
"""Example inventories, each with a key of its network that a comment there has."""


@pytest.fixture
def linked(booted: Boot) -> Iterator[Hosts]:
    """Three hosts of two links and the router; afterwards nothing is left of the examples."""
    hosts = booted("mixed", count=4)
    with on_two_links(hosts):
        yield hosts
        power.start(hosts.lab, say=print)
        hosts.destroy_all()


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_router_between_hosts_need_not_know_the_containers(linked: Hosts, example: str) -> None:
    """From apply to destroy, and after a reboot of the host behind the router."""
    file, key = example.partition(" ")[0], EXAMPLES[example]
    changes = [(f"# {key}", key)] if key else []
    inventory, before = linked.inventory(file, moved(linked), *changes), linked.capture()
    linked.provision("apply", inventory)
    linked.verified(inventory)
    assert linked.json("apply", inventory)["changes"] == []
    on = {each.host: each.name for each in load(linked.lab.folder / inventory).containers.values()}
    explained = linked.json("explain", inventory, on["h1"], on["h3"])
    assert explained["reached"] and explained["cause"] is None, explained
    if key == "bfd: true":
        shown = (
            "vtysh -d bfdd --vty_socket $(ls -d /run/provision-evpn-*) -c 'show bfd peers brief'"
        )
        wait_for_output(linked, "h3", f"{shown} | grep -c ' up ' || :", "2\n", within_s=60)
    power.reboot(linked.lab, HOSTS[2:], say=print)
    linked.verified(inventory, within_s=120)
    assert linked.json("plan", inventory)["changes"] == []
    linked.provision("destroy", inventory, "--yes")
    assert_same(before, linked.capture())

"""Routes between hosts whose NIC is, or becomes, a port of a bridge with the NIC's addresses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.hosts import HOSTS, Hosts, assert_same, without_records
from tests.lab.pipework import nics, without_ovs_files

pytestmark = pytest.mark.lab

ROUTES = "blue: {method: routes, cidr: 172.20.0.0/16}"
LAN = "lan: {method: pipework, cidr: D.0/24, pool: D.208/28, gateway: D.254}"
NETDEV = "tun: {method: ovs-gre, cidr: 172.30.0.0/16, datapath: netdev}"
# By a name for a test: the network whose bridge takes the NIC, and the bridge.
BRIDGES = {
    "veth": (LAN.replace("{", "{host_port: veth, "), "host-"),
    "ovs": ("lan: {method: pipework, kind: ovs, cidr: D.0/24}", "bri0"),
    "netdev": (NETDEV, "phy-eth1"),
}
TUNNELS = {
    "vxlan": "{method: vxlan, cidr: 172.21.0.0/16}",
    "flannel": "{method: flannel, cidr: 172.16.0.0/16}",
    "wireguard": "{method: wireguard, cidr: 172.22.0.0/16}",
}


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without the inventories of these tests, also after a failure."""
    yield mixed
    mixed.destroy_all()


def written(hosts: Hosts, *networks: str, name: str = "both") -> str:
    """The file of an inventory with a container on each host for each network."""
    entries = [f"  h{n}: {{address: D.1{n}{', nic: eth1' if n == 1 else ''}}}" for n in (1, 2, 3)]
    # Docker attaches no containers to a bridge of Open vSwitch.
    names = [network.partition(":")[0] for network in networks if "kind: ovs" not in network]
    containers = [f"  {net}{n}: {{host: h{n}, network: {net}}}" for net in names for n in (1, 2, 3)]
    lines = [f"name: {name}", "hosts:", *entries, "networks:", *(f"  {net}" for net in networks)]
    text = "\n".join([*lines, "containers:", *containers, ""])
    file = f"{name}.yml"
    (hosts.lab.folder / file).write_text(text.replace("D.", f"{hosts.networks[1]}."))
    return file


def applied(hosts: Hosts, *networks: str, name: str = "both") -> Any:
    """Apply ends well and leaves nothing to plan, and all containers reach each other."""
    file = written(hosts, *networks, name=name)
    result = hosts.json("apply", file)
    assert hosts.json("plan", file)["changes"] == []
    hosts.verified(file)
    return result


def devices(hosts: Hosts) -> set[str]:
    """The interfaces of the marked routes of all hosts."""
    lines = hosts.everywhere("ip -4 -o route show table main proto 240").values()
    routes = [line.split() for text in lines for line in text.splitlines()]
    assert len(routes) == len(HOSTS) * (len(HOSTS) - 1), routes
    return {fields[fields.index("dev") + 1] for fields in routes}


def until_routes_are_on(hosts: Hosts, device: str, *, within_s: float = 60) -> None:
    """Wait until every host has all marked routes, by this interface alone."""
    deadline = time.monotonic() + within_s
    while True:
        output = hosts.everywhere("ip -4 -o route show table main proto 240")
        routes = [line.split() for text in output.values() for line in text.splitlines()]
        names = {fields[fields.index("dev") + 1] for fields in routes}
        if len(routes) == len(HOSTS) * (len(HOSTS) - 1) and names == {device}:
            return
        assert time.monotonic() < deadline, output
        time.sleep(0.5)


def test_a_first_apply_makes_routes_over_a_new_bridge(clean: Hosts) -> None:
    """The bridge takes the addresses of the NIC by which the hosts reach each other."""
    hosts, before, nics_before = clean, clean.capture(), nics(clean)
    applied(hosts, ROUTES, LAN)
    assert devices(hosts) == {"bri0"}
    hosts.provision("destroy", "both.yml", "--yes")
    assert_same(before, hosts.capture())
    assert_same(nics_before, nics(hosts))


@pytest.mark.full
def test_routes_go_with_the_addresses_of_their_nic(clean: Hosts) -> None:
    """To a bridge that is made later, and back; one apply is enough each time."""
    hosts, before, nics_before = clean, clean.capture(), nics(clean)
    applied(hosts, ROUTES)
    for _ in range(2):
        result = applied(hosts, LAN, ROUTES)
        assert {c["verb"] for c in result["changes"] if c["kind"] == "routes"} == {"update"}
        assert devices(hosts) == {"bri0"}
        applied(hosts, ROUTES)
        assert devices(hosts) == {"eth1"}
    hosts.provision("destroy", "both.yml", "--yes")
    assert_same(before, hosts.capture())
    assert_same(nics_before, nics(hosts))


@pytest.mark.full
def test_routes_follow_a_nic_that_another_inventory_moves(clean: Hosts) -> None:
    """To its bridge and back at once; a warning names the file whose rules an apply then moves."""
    hosts, before, nics_before = clean, clean.capture(), nics(clean)
    applied(hosts, ROUTES, name="routes")
    lan = written(hosts, LAN, name="lan")
    for verb, options, device in (("apply", (), "bri0"), ("destroy", ("--yes",), "eth1")):
        warnings = hosts.warnings(verb, lan, *options)
        assert "inventory 'routes'" in warnings, warnings
        until_routes_are_on(hosts, device)
        changes = applied(hosts, ROUTES, name="routes")["changes"]
        assert changes and not [c for c in changes if c["kind"] == "routes"], changes
        assert devices(hosts) == {device}
    hosts.provision("destroy", "routes.yml", "--yes")
    assert_same(before, hosts.capture())
    assert_same(nics_before, nics(hosts))


@pytest.mark.full
@pytest.mark.parametrize("last", ["routes", "lan"])
def test_a_nic_gets_no_routes_back_that_have_ended(clean: Hosts, last: str) -> None:
    """Their inventory is another one, which is destroyed before or after that of the bridge."""
    hosts, before = clean, clean.capture()
    applied(hosts, ROUTES, name="routes")
    applied(hosts, LAN, name="lan")
    applied(hosts, ROUTES, name="routes")
    assert devices(hosts) == {"bri0"}
    hosts.provision("destroy", "lan.yml" if last == "routes" else "routes.yml", "--yes")
    if last == "routes":
        applied(hosts, ROUTES, name="routes")
        assert devices(hosts) == {"eth1"}
    hosts.provision("destroy", f"{last}.yml", "--yes")
    assert_same(without_records(before), without_records(hosts.capture()))


@pytest.mark.full
@pytest.mark.parametrize("kind", BRIDGES)
def test_routes_go_to_every_kind_of_bridge(clean: Hosts, kind: str) -> None:
    """In one first apply, and when the bridge is made later."""
    network, device = BRIDGES[kind]
    hosts, before = clean, clean.capture()
    for first in ((ROUTES, network), (ROUTES,)):
        applied(hosts, *first)
        applied(hosts, ROUTES, network)
        assert {name.startswith(device) for name in devices(hosts)} == {True}
        hosts.provision("destroy", "both.yml", "--yes")
        assert_same(without_ovs_files(before), without_ovs_files(hosts.capture()))


@pytest.mark.full
@pytest.mark.parametrize("method", TUNNELS)
def test_a_tunnel_goes_on_while_its_nic_joins_and_leaves_a_bridge(
    clean: Hosts, method: str
) -> None:
    """Its packets leave by the interface that has the host's address."""
    tunnel = f"tun: {TUNNELS[method]}"
    hosts, before = clean, clean.capture()
    for networks in ((tunnel, LAN), (tunnel,), (tunnel, LAN)):
        applied(hosts, *networks)
    hosts.provision("destroy", "both.yml", "--yes")
    assert_same(without_ovs_files(before), without_ovs_files(hosts.capture()))

"""systemd-networkd, of three releases, and a NIC with a route by a gateway that joins a bridge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import wait_for_output

pytestmark = pytest.mark.lab

FOLDER = "/etc/systemd/network/10-eth1.network.d"
ROUTE = "10.79.7.0/24"
CONFIGURE = "networkctl reload && networkctl reconfigure eth1"
UNFINISHED = "networkctl --no-legend --no-pager list | grep -c configuring || :"


@pytest.fixture
def routed(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts whose file of eth1 has a route; afterwards nothing is left of the examples."""
    text = f"[Route]\\nDestination={ROUTE}\\nGateway={mixed.networks[1]}.254\\n"
    mixed.everywhere(f"mkdir -p {FOLDER} && printf '{text}' >{FOLDER}/50-route.conf; {CONFIGURE}")
    assert_route(mixed)
    yield mixed
    mixed.destroy_all()
    mixed.everywhere(f"rm -rf {FOLDER}; {CONFIGURE}")


def assert_route(hosts: Hosts) -> None:
    """networkd has made the route of the file on each host, and waits for nothing."""
    for host in HOSTS:
        wait_for_output(hosts, host, f"ip route show {ROUTE}", "proto static", within_s=20)
        wait_for_output(hosts, host, UNFINISHED, "0\n", within_s=20)


@pytest.mark.parametrize(
    "example",
    [
        "pipework.yml",
        pytest.param("pipework-ovs.yml", marks=pytest.mark.full),
        pytest.param("ovs-gre.yml", marks=pytest.mark.full),
    ],
)
def test_networkd_goes_on_making_its_routes(routed: Hosts, example: str) -> None:
    """With the bridge, and on the NIC that has left it: also when it reads its files again."""
    inventory, before = routed.inventory(example), routed.capture()
    routed.provision("apply", inventory)
    assert_route(routed)
    routed.verified(inventory)
    assert routed.json("plan", inventory)["changes"] == []
    routed.provision("destroy", inventory, "--yes")
    assert_route(routed)
    routed.everywhere(f"ip route delete {ROUTE}; {CONFIGURE}")
    assert_route(routed)
    assert_same(before, routed.capture())

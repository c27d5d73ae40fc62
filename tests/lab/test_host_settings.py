"""Settings of the kernel and of systemd-networkd that undo a network, and a swarm beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Hosts, assert_same

pytestmark = [pytest.mark.lab, pytest.mark.full]

BRIDGE = "br-blue-v242wt"
"""The bridge of network `blue` of routes.yml."""
DAEMON_JSON = "/etc/docker/daemon.json"
OFF = "/etc/sysctl.d/90-off.conf"
CATCH_ALL = "/etc/systemd/network/99-all.network"
STOPS = {
    "h1": f"echo net.ipv4.ip_forward=0 >{OFF}; sysctl -q --system 2>/dev/null || :",
    "h2": f"echo net.ipv4.conf.{BRIDGE}.forwarding=0 >{OFF}; sysctl -q -p {OFF}",
    "h3": "sysctl -qw net.ipv4.ip_forward=0",
}
BACK = f"""timeout 15 sh -c 'until [ "$(cat /proc/sys/net/ipv4/ip_forward
  cat /proc/sys/net/ipv4/conf/{BRIDGE}/forwarding)" = "1
1" ]; do sleep 0.5; done'"""
BRIDGE_STATE = f"""ip -4 -o address show dev {BRIDGE} | sed 's/.*inet/inet/;s/ *valid.*//'
ip -N route show dev {BRIDGE}; ls /sys/class/net/{BRIDGE}/brif; ip -N route show proto 240"""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without these settings, and without inventories, also after a failure."""
    yield mixed
    mixed.everywhere(f"rm -f {OFF} {CATCH_ALL}")
    mixed.destroy_all()
    mixed.everywhere(
        f"rm -f {DAEMON_JSON}; docker swarm leave -f; systemctl restart docker", check=False
    )


def unordered(capture: dict[str, str]) -> dict[str, str]:
    """A capture whose lines are sorted: a restart of Docker changes the order of its rules."""
    return {host: "\n".join(sorted(text.splitlines())) for host, text in capture.items()}


def test_forwarding_that_is_switched_off_comes_back_within_seconds(clean: Hosts) -> None:
    """The file is named by plan, and `destroy` gives back the value from before `apply`."""
    before, name = clean.capture(), clean.inventory("routes.yml")
    clean.provision("apply", name)
    clean.verified(name)
    for host, command in STOPS.items():
        clean.ssh(host, command)
    clean.everywhere(BACK)
    clean.verified(name)
    assert clean.json("plan", name)["changes"] == []
    assert f"h1: {OFF} has net.ipv4.ip_forward=0" in clean.warnings("plan", name)
    clean.everywhere(f"rm -f {OFF}")
    clean.provision("destroy", name, "--yes")
    assert_same(before, clean.capture())


def test_a_file_of_networkd_for_all_links_takes_nothing_for_long(clean: Hosts) -> None:
    """Addresses, ports and routes come back, and `apply` has nothing to do."""
    before, name = clean.capture(), clean.inventory("routes.yml")
    clean.provision("apply", name)
    clean.verified(name)
    state = clean.everywhere(BRIDGE_STATE)
    clean.everywhere(
        f"printf '[Match]\\nName=*\\n[Network]\\nLinkLocalAddressing=no\\n' >{CATCH_ALL}; "
        "systemctl restart systemd-networkd"
    )
    begin = time.monotonic()
    while (now := clean.everywhere(BRIDGE_STATE)) != state:
        if time.monotonic() - begin > 20:
            assert_same(state, now)
        time.sleep(0.5)
    clean.verified(name)
    assert clean.json("apply", name)["changes"] == []
    # docker0 is not of the inventory: Docker gives it its address back when it starts.
    clean.everywhere(
        f"rm {CATCH_ALL}; systemctl restart systemd-networkd; systemctl restart docker"
    )
    clean.verified(name)
    clean.provision("destroy", name, "--yes")
    assert_same(unordered(before), unordered(clean.capture()))


def test_routes_of_a_vpn_that_cover_the_range_are_no_conflict(clean: Hosts) -> None:
    """Only a range that overlaps from within is one."""
    name = clean.inventory("routes.yml")
    routes = ("128.0.0.0/1", "172.0.0.0/8")
    try:
        for route in routes:
            clean.ssh("h1", f"ip route add {route} dev host0")
        assert not clean.json("plan", name)["conflicts"]
        clean.ssh("h1", "ip route add 172.20.9.0/26 dev host0")
        conflicts = clean.json("plan", name, status=9)["conflicts"]
        assert [conflict["host"] for conflict in conflicts] == ["h1"], conflicts
    finally:
        for route in (*routes, "172.20.9.0/26"):
            clean.ssh("h1", f"ip route del {route} dev host0", check=False)


VPN = """set -e; ip link add vpn0 type veth peer name vpn1; ip link set vpn1 up
ip link set vpn0 up; ip route add default dev vpn0 table 51820
ip rule add table main suppress_prefixlength 0 priority 32764
ip rule add not fwmark 51820 table 51820 priority 32765"""
"""The rules of `wg-quick up` for a peer with AllowedIPs = 0.0.0.0/0."""


def test_a_vpn_for_all_traffic_is_no_obstacle(clean: Hosts) -> None:
    """Its rules leave the routes of the main table alone, also those that the apply is to make."""
    name = clean.inventory("routes.yml")
    try:
        clean.ssh("h1", VPN)
        clean.provision("apply", name)
        clean.verified(name)
        assert clean.json("apply", name)["changes"] == []
        clean.provision("destroy", name, "--yes")
        # Without the first rule, for these packets alone: SSH goes on.
        clean.ssh("h1", "ip rule add to 172.20.0.0/16 table 51820 priority 32763")
        (error,) = clean.json("plan", name, status=4)["errors"]
        assert "rule 32763 of `ip rule`" in error["message"], error
    finally:
        undo = "for p in 32763 32765 32764; do ip rule del priority $p; done; ip link del vpn0"
        clean.ssh("h1", undo, check=False)


def test_networks_stand_beside_a_swarm(clean: Hosts) -> None:
    """An overlay network of Docker keeps its range; one of our range or name is a conflict."""
    data = clean.networks[1]
    clean.ssh("h1", f"docker swarm init --advertise-addr {data}.11")
    clean.ssh("h1", "docker network create -d overlay --subnet 10.211.0.0/24 far")
    name = clean.inventory("routes.yml")
    clean.provision("apply", name)
    clean.verified(name)
    clean.ssh("h1", "systemctl restart docker")
    clean.verified(name)
    assert clean.json("apply", name)["changes"] == []
    clean.provision("destroy", name, "--yes")
    assert "far overlay" in clean.ssh("h1", "docker network ls --format '{{.Name}} {{.Driver}}'")
    clean.ssh("h1", "docker network create -d overlay --subnet 10.212.0.0/24 blue")
    conflicts = clean.json("plan", name, status=9)["conflicts"]
    assert [conflict["host"] for conflict in conflicts] == ["h1"], conflicts

"""Method `bgp` on booted hosts of three releases, and a fourth one that plays the router."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.lab import power
from tests.lab.conftest import Boot
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import failing_checks, wait_for_output
from tests.lab.test_bgp import PING, UNIT, lost_during

pytestmark = pytest.mark.lab

ROUTER = "h4"
CONTAINERS = {"h1": "172.27.0.2", "h2": "172.27.1.2", "h3": "172.27.2.2"}
PASSWORD = "CANARY-of-routers"
PAGE = Path(__file__).parents[2] / "docs" / "bgp.md"
LIES = ("0.0.0.0/0", "10.201.0.0/16", "172.27.1.0/24", "172.27.1.0/25")
START = r"""
ip link add center type veth peer name far && ip link set far up && ip link set center up
ip address add 10.200.0.1/16 dev center
cp -a /etc/frr /run/frr-before
sed -i 's/^bgpd=no/bgpd=yes/' /etc/frr/daemons && cat >/etc/frr/frr.conf
systemctl unmask frr.service && systemctl restart frr.service
"""
STOP = r"""
systemctl stop frr.service; systemctl mask frr.service; ip link delete center
[ ! -d /run/frr-before ] || { rm -rf /etc/frr && mv /run/frr-before /etc/frr; }
"""
RESTART = "systemctl restart frr.service"


@pytest.fixture
def routed(booted: Boot) -> Iterator[Hosts]:
    """Three hosts and a fourth one; afterwards the inventory is destroyed, and FRR is stopped."""
    hosts = booted("mixed", count=4)
    yield hosts
    power.start(hosts.lab, say=print)
    if any(hosts.everywhere("ls -d /etc/provision/mesh", check=False).values()):
        hosts.provision("destroy", hosts.inventory("bgp.yml"), "--yes", status=None)
    hosts.ssh(ROUTER, STOP, check=False)


def start_router(hosts: Hosts, password: str = "") -> None:
    """Start the router with the configuration of docs/bgp.md, and with its line of a password.

    It also announces what no router may.
    """
    (text,) = re.findall(r"```text\n(ip prefix-list.*?)```", PAGE.read_text(), re.S)
    text = text.replace("10.78.0.", f"{hosts.networks[1]}.")
    if password:
        commented = "! With a password: neighbor hosts password PASSWORD"
        assert commented in text
        text = text.replace(commented, f"neighbor hosts password {password}")
    lies = "".join(f"  network {lie}\n" for lie in LIES)
    text = text.replace("  network 10.200.0.0/16\n", f"  network 10.200.0.0/16\n{lies}")
    text = text.replace("route-map to-hosts out", "route-map lies out")
    text += "exit\nroute-map lies permit 10\n"
    text = text.replace(" address-family", " no bgp network import-check\n address-family")
    quoted = text.replace("'", "'\\''")
    hosts.ssh(ROUTER, f"printf %s '{quoted}' | {{ {START.strip().replace(chr(10), '; ')}; }}")


def with_router(hosts: Hosts, *further: str) -> str:
    """The example with the router of the lab; the name of its file."""
    keys = (
        f"routers: [{{address: {hosts.networks[1]}.14, asn: 64600, accept: [10.200.0.0/16]}}]",
        "egress: none",
        "access: [10.200.0.0/16]",
        *further,
        "# asn: 64512",
    )
    return hosts.inventory("bgp.yml", ("# asn: 64512", "\n    ".join(keys)))


def learned(hosts: Hosts, host: str = ROUTER) -> list[str]:
    """The routes of BGP of a machine, by default the router: `172.27.0.0/24 via 10.0.0.11`."""
    routes = hosts.ssh(host, "ip -4 route show proto bgp").splitlines()
    fields = [route.split() for route in routes]
    return sorted(f"{each[0]} via {each[each.index('via') + 1]}" for each in fields)


def test_the_data_center_learns_each_subnet_from_its_host(routed: Hosts) -> None:
    """And the hosts learn what they accept from the router, and nothing else.

    They are verified without the router no more, and again after it was restarted, after all
    services were, and after a reboot. Destroy leaves no route on either side.
    """
    data, before = routed.networks[1], routed.capture()
    start_router(routed)
    inventory = with_router(routed)
    routed.provision("apply", inventory)
    routed.verified(inventory)
    assert routed.json("apply", inventory)["changes"] == []
    expected = [f"172.27.{k}.0/24 via {data}.1{k + 1}" for k in range(3)]
    # The router's own lie is the better route to it for the router.
    assert learned(routed) == [expected[0], expected[2]]
    for host in HOSTS:
        others = [route for route in expected if not route.endswith(f".1{host[1]}")]
        assert learned(routed, host) == [f"10.200.0.0/16 via {data}.14", *others], host
    for host in ("h1", "h3"):
        ping = f"ping -q -c 3 -W 2 -I 10.200.0.1 {CONTAINERS[host]}"
        wait_for_output(routed, ROUTER, f"{ping} || :", " 0% packet loss", within_s=30)
    back = PING.format(container="b3", address="10.200.0.1", count=3)
    wait_for_output(routed, "h3", back, " 0% packet loss", within_s=30)
    call = f"timeout 3 bash -c '</dev/tcp/{data}.14/179' && echo open"
    assert routed.ssh("h3", call, check=False)
    inside = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' b3) "
    assert not routed.ssh("h3", inside + call, check=False)

    assert not lost_during(routed, 12, (ROUTER, "systemctl stop frr.service"))
    failing = failing_checks(routed, inventory)
    assert {check for check in failing if check[0] == "sessions"} == {
        ("sessions", host, host) for host in HOSTS
    }
    routed.ssh(ROUTER, "systemctl start frr.service")
    routed.verified(inventory)
    routed.everywhere(f"systemctl restart {UNIT}")
    routed.verified(inventory)
    assert learned(routed) == [expected[0], expected[2]]
    power.reboot(routed.lab, HOSTS, say=print)
    routed.verified(inventory, within_s=120)
    assert routed.json("plan", inventory)["changes"] == []

    routed.provision("destroy", inventory, "--yes")
    assert_same(before, routed.capture())
    left = routed.everywhere("ip route show proto 186; ip route show proto 241")
    assert not any(left.values()), left
    wait_for_output(routed, ROUTER, "ip route show proto bgp | wc -l", "0\n", within_s=60)


@pytest.mark.full
def test_routers_come_and_go_and_have_a_password(routed: Hosts) -> None:
    """A network gets a router, which needs the password, and loses it again, with its routes."""
    (routed.lab.folder / "router.key").write_text(f"{PASSWORD}\n")
    start_router(routed, PASSWORD)
    # FRR starts without a line that it does not take.
    line = f" neighbor hosts password {PASSWORD}"
    wait_for_output(routed, ROUTER, "vtysh -c 'show running-config'", line, within_s=60)
    plain = routed.inventory("bgp.yml", to="plain.yml")
    routed.provision("apply", plain)
    routed.verified(plain)
    inventory = with_router(routed)
    routed.provision("apply", inventory, "--yes")
    failing = failing_checks(routed, inventory)
    assert {("sessions", host, host) for host in HOSTS} <= failing, failing
    inventory = with_router(routed, "router_password: {file: router.key}")
    routed.provision("apply", inventory, "--yes")
    routed.verified(inventory)
    assert routed.json("plan", inventory)["changes"] == []
    accepted = f"10.200.0.0/16 via {routed.networks[1]}.14"
    assert all(accepted in learned(routed, host) for host in HOSTS)
    warnings = routed.warnings("plan", plain)
    assert f"{routed.networks[1]}.14" not in warnings, warnings
    routed.provision("apply", plain, "--yes")
    routed.verified(plain)
    assert routed.json("plan", plain)["changes"] == []
    wait_for_output(routed, ROUTER, "ip route show proto bgp | wc -l", "0\n", within_s=60)
    # The kernel of each host has kept them while the service was restarted.
    for host in HOSTS:
        count = "ip route show 10.200.0.0/16 | wc -l"
        wait_for_output(routed, host, count, "0\n", within_s=120)

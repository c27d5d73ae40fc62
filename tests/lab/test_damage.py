"""Damage that Docker does not report, and objects of ours that have lost their claims."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.test_overlay_checks import IN_CONTAINER, plan_of

pytestmark = pytest.mark.lab

FILE = "damage.yml"
INVENTORY = """
name: damage
hosts:
  h1: {address: D.11}
  h2: {address: D.12}
  h3: {address: D.13}
networks:
  blue: {method: routes, cidr: 172.20.0.0/16}
  lan: {method: macvlan, cidr: D.0/24, pool: D.208/28}
containers:
  web:
    host: h1
    network: blue
    ports: ["8080:80"]
    command: [httpd, -f, -h, /etc]
    interfaces: [{macvlan: eth1, address: D.241/24, gateway: D.254}]
  c2: {host: h2, network: blue}
  c3: {host: h3, network: blue}
  m1: {host: h1, network: lan}
  m2: {host: h2, network: lan}
  m3: {host: h3, network: lan}
  std1: {host: h1, network: bridge}
  std2: {host: h2, network: bridge}
  std3: {host: h3, network: bridge}
"""
"""`web` has a published port and a router on the LAN; `c2` is on another host of its network."""
DAMAGE = {
    "h1": f"{IN_CONTAINER % 'm1'} ip link delete eth0; ip link delete docker0",
    "h2": f"{IN_CONTAINER % 'm2'} ip address flush dev eth0; ip address flush dev docker0; "
    "sysctl -q -w net.ipv4.conf.eth1.forwarding=0",
    "h3": f"{IN_CONTAINER % 'm3'} ip link set eth0 down; "
    "ip link set $(ls /sys/class/net/docker0/brif) nomaster",
}
LEFT_SO = {
    "h1": f"{IN_CONTAINER % 'm1'} ip link delete eth0; "
    "ip link delete $(ls /sys/class/net | grep ^br-blue)",
    "h2": f"{IN_CONTAINER % 'm2'} ip address flush dev eth0; "
    "ip link set $(ls /sys/class/net/docker0/brif) nomaster",
    "h3": f"{IN_CONTAINER % 'm3'} ip link set eth0 down; "
    f"{IN_CONTAINER % 'c3'} ip link delete eth0; "
    "sysctl -q -w net.ipv4.conf.eth1.forwarding=0",
}
"""Damage that nobody heals before destroy."""


@pytest.fixture
def clean(mixed: Hosts) -> Iterator[Hosts]:
    """Hosts without the inventories of these tests, also after a failure."""
    yield mixed
    mixed.everywhere("ip link set eth1 up", check=False)
    mixed.destroy_all()


@pytest.mark.full
def test_links_of_macvlan_and_of_docker0_are_compared(clean: Hosts) -> None:
    """Docker lists every network and container meanwhile; plan names each fault, apply heals it."""
    hosts, before = clean, clean.capture()
    (hosts.lab.folder / FILE).write_text(INVENTORY.replace("D.", f"{hosts.networks[1]}."))
    hosts.provision("apply", FILE)
    # The default route of `web` leads to the LAN: its packets to c2 and answers of its port do not.
    hosts.verified(FILE)
    started = hosts.everywhere("docker inspect -f '{{.Name}} {{.State.StartedAt}}' $(docker ps -q)")
    for host, command in DAMAGE.items():
        hosts.damage(host, command)
    plan = plan_of(hosts, FILE)
    assert re.search(r"lacks: address \S+ in m1 → none", plan["h1 docker_network"]), plan
    assert "! container m1 restarts" in plan["h1 docker_network"], plan
    assert "lacks: interface docker0, port of std1" in plan["h1 container"], plan
    assert re.search(r"lacks: address \S+ in m2 → none", plan["h2 docker_network"]), plan
    assert re.search(r"lacks: address 172\.\S+ → none", plan["h2 container"]), plan
    assert "value: 0 → 1" in plan["h2 sysctl"], plan
    assert re.search(r"lacks: link with \S+ in m3 → none", plan["h3 docker_network"]), plan
    assert plan["h3 container"] == "lacks: port of std3 → none\n", plan
    assert hosts.json("verify", FILE, "-k", "drift", status=7)["ok"] is False
    hosts.provision("apply", FILE)
    assert hosts.json("plan", FILE)["changes"] == []
    hosts.verified(FILE)
    now = hosts.everywhere("docker inspect -f '{{.Name}} {{.State.StartedAt}}' $(docker ps -q)")
    for number, host in enumerate(HOSTS, 1):
        restarted = set(now[host].splitlines()) - set(started[host].splitlines())
        assert {line.split()[0] for line in restarted} == {f"/m{number}"}, restarted
    assert_names_the_link(hosts)
    for host, command in LEFT_SO.items():
        hosts.ssh(host, command)
    hosts.provision("destroy", FILE, "--yes")
    hosts.ssh("h3", "sysctl -q -w net.ipv4.conf.eth1.forwarding=1")
    assert_same(before, hosts.capture())


def assert_names_the_link(hosts: Hosts) -> None:
    """The text of verify names a link that is down, and calls nothing missing because of it."""
    hosts.ssh("h3", "ip link set eth1 down")
    text = hosts.provision("verify", FILE, "-k", "drift", status=7)
    assert text.startswith("drift h3: FAILED: cannot be compared: eth1 is down; "), text
    assert "create" not in text, text
    hint = hosts.json("plan", FILE, status=4)["errors"][0]["hint"]
    assert "`ip link set dev eth1 up`" in hint, hint
    hosts.ssh("h3", "ip link set dev eth1 up")
    hosts.verified(FILE)


# By example: what `plan` says of the hosts that have lost /etc/provision.
CLAIMS = {
    "flannel-vxlan.yml": r"flannel\.1 is ours, damaged: its claim /etc/\S+ was deleted",
    "pipework.yml": r"interface bare\d/\S+ is ours, damaged: its claim /etc/\S+ was deleted",
    "pipework-ovs.yml": r"interface o\d/eth1 is ours, damaged: its claim /etc/\S+ was deleted",
    "ovs-gre.yml": r"create file /etc/provision/tunnel/follow\.sh",
}


@pytest.mark.full
@pytest.mark.parametrize("example", CLAIMS)
def test_what_lost_its_claims_is_still_ours(clean: Hosts, example: str) -> None:
    """`plan` says so, `apply` heals without a new interface, and `destroy` removes all."""
    hosts, before = clean, clean.capture()
    name = hosts.inventory(example)
    hosts.provision("apply", name)
    links = hosts.ssh("h2", "ip -o link | cut -d: -f1,2")
    hosts.ssh("h2", "rm -rf /etc/provision")
    plan = hosts.provision("plan", name)
    assert len(re.findall(CLAIMS[example], plan)) == 1, plan
    assert "conflict" not in plan
    hosts.provision("apply", name)
    assert hosts.json("plan", name)["changes"] == []
    hosts.verified(name)
    assert hosts.ssh("h2", "ip -o link | cut -d: -f1,2") == links or example.startswith("flannel")
    hosts.everywhere("rm -rf /etc/provision")
    if example.startswith("flannel"):
        hosts.ssh("h1", "ip link set flannel.1 address 02:00:00:00:00:01")
    hosts.provision("destroy", name, "--yes")
    assert_same(before, hosts.capture())


@pytest.mark.full
def test_a_deleted_pair_between_two_bridges_carries_packets_again(mixed: Hosts) -> None:
    """Open vSwitch must take the new device: the database has a port of that name all the time."""
    inventory = mixed.inventory("ovs-gre.yml")
    mixed.provision("apply", inventory)
    # Without the follower, which Docker's events wake.
    mixed.ssh("h2", "systemctl stop provision-tunnel-follow.service")
    mixed.ssh("h2", "ip link delete $(ls /sys/class/net | grep ^oi-)")
    mixed.provision("apply", inventory, "--yes")
    mixed.verified(inventory)
    mixed.provision("destroy", inventory, "--yes")

"""Method `pipework` on booted hosts: its example, its variants, and faults that verify reports."""

from __future__ import annotations

import re
import time

import pytest

from provision.lab import power
from tests.lab.hosts import HOSTS, Hosts, assert_same
from tests.lab.pipework import (
    FOLLOW_S,
    assert_extra_settings,
    clean,
    extra_nic_settings,
    failing_checks,
    nics,
)

pytestmark = pytest.mark.lab
__all__ = ["clean"]


def assert_followed(hosts: Hosts) -> None:
    """A container has its interface within 5 s of its start, whoever starts it."""
    recreate = "docker rm -f bare1 && docker run -d --name bare1 --restart always"
    recreate += " --network none busybox sleep 3600"
    for event in ("docker restart -t 0 bare1", recreate, "systemctl restart docker"):
        hosts.ssh("h1", event)
        begin = time.monotonic()
        while "10." not in hosts.ssh("h1", "docker exec bare1 ip address", check=False):
            assert time.monotonic() - begin < FOLLOW_S, event
            time.sleep(0.2)
        route = f"default via {hosts.networks[1]}.254 dev eth1"
        assert route in hosts.ssh("h1", "docker exec bare1 ip route")


def test_the_example_from_apply_to_destroy(clean: Hosts) -> None:
    """The network survives reboots and restarts of containers, and destroy restores the hosts."""
    inventory = clean.inventory("pipework.yml")
    with extra_nic_settings(clean):
        before, nics_before = clean.capture(), nics(clean)
        result = clean.json("apply", inventory)
        assert set(result["hosts"].values()) <= {"changed", "confirmed"}
        assert_extra_settings(clean, "bri0")
        names = {check["check"] for check in clean.verified(inventory)["checks"]}
        assert {"arp", "link", "size", "duplicate", "host", "mode", "drift"} <= names
        assert clean.json("apply", inventory)["changes"] == []
        assert clean.executions("apply", inventory) == dict.fromkeys(HOSTS, 1)

        power.reboot(clean.lab, HOSTS, say=print)
        clean.verified(inventory)
        assert_extra_settings(clean, "bri0")

        clean.everywhere("docker restart -t 0 $(docker ps -q)")
        clean.verified(inventory, within_s=FOLLOW_S)
        assert_followed(clean)

        clean.ssh("h1", "docker rm -f bare1")
        clean.provision("destroy", inventory, "--yes")
        assert_same(before, clean.capture())
        assert_same(nics_before, nics(clean))
        assert_extra_settings(clean, "eth1")


# Faults: the host, the arguments of `ip` that make the fault and that repair it, and the checks
# that must fail.
FAULTS = {
    "a second owner": (
        "h2",
        "address add LAN.243/32 dev bri0",
        "address delete LAN.243/32 dev bri0",
        {("duplicate", "bare3/eth1", "bare3/eth1"), ("arp", "h1", "bare3/eth1")},
    ),
    "a second router": (
        "h2",
        "address add LAN.254/32 dev bri0",
        "address delete LAN.254/32 dev bri0",
        {("arp", "bare1/eth1", "gateway"), ("arp", "h1", "gateway")},
    ),
    "a smaller port": (
        "h2",
        "link set dev $(ip -br link | grep -o '^pw-[^@]*') mtu 1400",
        "link set dev $(ip -br link | grep -o '^pw-[^@]*') mtu 1500",
        {("size", "h1", "bare2/lan0"), ("size", "bare2/lan0", "bare1/eth1")},
    ),
    "a lost route": (
        "h1",
        "route delete 10.9.0.0/16",
        "route add 10.9.0.0/16 via LAN.254 metric 77 proto static",
        {("host", "h1", "h1")},
    ),
    "a lost address": (
        "h1",
        "address delete fd00:77::11/64 dev bri0",
        "address add fd00:77::11/64 dev bri0 nodad",
        {("host", "h1", "h1")},
    ),
}


@pytest.mark.full
def test_verify_reports_each_fault(clean: Hosts) -> None:
    """Owner, router, MTU, the host's address, route and DNS, a lost port: each by its own check."""
    inventory, lan = clean.inventory("pipework.yml"), clean.networks[1]
    with extra_nic_settings(clean):
        clean.ssh("h1", "echo nameserver 192.0.2.53 >>/etc/resolv.conf")
        clean.provision("apply", inventory)
        clean.verified(inventory)
        for fault, (host, make, repair, checks) in FAULTS.items():
            clean.ssh(host, f"ip {make}".replace("LAN", lan))
            failing = failing_checks(clean, inventory)
            assert checks <= failing, (fault, failing)
            clean.ssh(host, f"ip {repair}".replace("LAN", lan))
            clean.verified(inventory)

        clean.damage("h3", "ip link set dev $(ip -br link | grep -o '^pw-[^@]*') nomaster")
        failing = failing_checks(clean, inventory)
        assert ("drift", "h3", "h3") in failing and ("link", "h1", "bare3/eth1") in failing
        changes = clean.json("plan", inventory)["changes"]
        assert [(c["host"], c["kind"], c["name"]) for c in changes] == [
            ("h3", "attachment", "bare3/eth1")
        ]
        clean.provision("apply", inventory)

        lose_dns = "grep -v 192.0.2.53 /etc/resolv.conf >/run/dns; cp /run/dns /etc/resolv.conf"
        clean.ssh("h1", lose_dns)
        assert {check[:2] for check in failing_checks(clean, inventory)} == {("host", "h1")}
        clean.provision("destroy", inventory, "--yes")


VARIANTS = {
    "veth": ("    # host_port: veth             #", "    host_port: veth               #"),
    "docker0": ("    # docker0: replace            #", "    docker0: replace              #"),
    "the host is the router": ("    gateway: 10.78.0.254          #", "    #"),
    "stp": ("    # stp: true", "    stp: true"),
}


@pytest.mark.full
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_from_apply_to_destroy(clean: Hosts, variant: str) -> None:
    """The example with one more key works, also after a reboot, and without the key again."""
    old, new = (text.replace("10.78.0.", f"{clean.networks[1]}.") for text in VARIANTS[variant])
    inventory = clean.inventory("pipework.yml", (old, new))
    before, nics_before = clean.capture(), nics(clean)
    clean.provision("apply", inventory)
    clean.verified(inventory, within_s=90)
    assert clean.json("apply", inventory)["changes"] == []
    power.reboot(clean.lab, HOSTS, say=print)
    clean.verified(inventory, within_s=90)
    inventory = clean.inventory("pipework.yml")
    clean.provision("apply", inventory)
    assert clean.json("apply", inventory)["changes"] == []
    clean.verified(inventory, within_s=90)
    clean.provision("destroy", inventory, "--yes")
    assert_same(before, clean.capture())
    assert_same(nics_before, nics(clean))


PUBLISHED = """
name: pub
hosts: {h1: {address: LAN.11}, h2: {address: LAN.12}, h3: {address: LAN.13}}
networks: {blue: {method: routes, cidr: 172.20.0.0/16}}
containers:
  web1: {host: h1, network: bridge, ports: ["8080:80"],
    interfaces: [{macvlan: eth1, address: LAN.241/24}]}
  web2: {host: h2, network: bridge, ports: ["8080:80"],
    interfaces: [{macvlan: eth1, address: LAN.242/24, gateway: LAN.254,
      rules: [{to: 10.9.0.0/16, table: 100, priority: 1}]}]}
  web3: {host: h3, network: blue, ports: ["8080:80"], address: 172.20.2.9,
    interfaces: [{macvlan: eth1, address: LAN.243/24}]}
"""
IN_CONTAINER = "nsenter -n -t $(docker inspect -f '{{.State.Pid}}' %s) ip -4 "


@pytest.mark.full
def test_ports_are_open_beside_a_lan_interface(clean: Hosts) -> None:
    """Clients are in the interface's own range, and the answers go back through the host."""
    path = clean.lab.folder / "pub.yml"
    text = PUBLISHED.replace("LAN", clean.networks[1])
    path.write_text(text)
    before = clean.capture()
    clean.provision("apply", "pub.yml")
    assert sum(check["check"] == "port" for check in clean.verified("pub.yml")["checks"]) >= 6
    assert clean.json("plan", "pub.yml")["changes"] == []

    # Without the rule, answers leave by the interface, with a source that no client asked.
    clean.ssh("h2", IN_CONTAINER % "web2" + "rule delete priority 2")
    failed = failing_checks(clean, "pub.yml")
    assert {("port", "h1", "web2"), ("port", "h3", "web2")} <= failed, failed
    clean.provision("apply", "pub.yml")
    clean.everywhere("docker restart -t 0 $(docker ps -q)")
    clean.verified("pub.yml")

    # An interface that goes takes rule and routes along.
    path.write_text(re.sub(r",\n    interfaces:.*?}\n(?=  web|\Z)", "}\n", text, flags=re.S))
    clean.provision("apply", "pub.yml")
    clean.verified("pub.yml")
    assert "2400" not in clean.ssh("h2", IN_CONTAINER % "web2" + "rule show")
    assert not clean.ssh("h2", IN_CONTAINER % "web2" + "route show table 2400", check=False)
    clean.provision("destroy", "pub.yml", "--yes")
    assert_same(before, clean.capture())

"""Conflicts with programs and NICs of booted hosts, named by `plan` before anything is changed."""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.hosts import Hosts

pytestmark = [pytest.mark.lab, pytest.mark.full]

LISTEN = """systemd-run -q --unit=stranger python3 -c 'import socket, time
s = socket.socket(socket.AF_INET, socket.{kind})
s.bind(("{address}", {port}))
{listen}
time.sleep(600)' && timeout 60 sh -c 'until ss -Hln{flag} | grep -q ":{port} "; do sleep 0.2; done'
"""
SECOND_NIC = """ip link add name eth2 link eth1 type macvlan mode bridge
ip addr add LAN.22/24 dev eth2 noprefixroute; ip link set dev eth2 up
cat /sys/class/net/eth2/address
"""


def test_ports_in_use_are_conflicts(mixed: Hosts) -> None:
    """The program is named, and a program at another address of the host is not in the way."""
    hosts, lan = mixed, mixed.networks[1]
    name = hosts.inventory("vxlan.yml")
    udp = {"kind": "SOCK_DGRAM", "listen": "", "flag": "u"}
    hosts.ssh("h1", LISTEN.format(address="0.0.0.0", port=4789, **udp))
    plan = hosts.provision("plan", name, status=9)
    assert "h1: conflict: python3" in plan and "listens at UDP port 4789" in plan
    hosts.provision("apply", name, status=9)
    assert not any(hosts.everywhere("ls -d /etc/provision", check=False).values())
    hosts.ssh("h1", "systemctl stop stranger")
    name = hosts.inventory("flannel-vxlan.yml")
    tcp = {"kind": "SOCK_STREAM", "listen": "s.listen()", "flag": "t"}
    hosts.ssh("h2", LISTEN.format(address="127.0.0.1", port=2379, **tcp))
    hosts.provision("plan", name)
    hosts.ssh("h2", "systemctl stop stranger")
    hosts.ssh("h2", LISTEN.format(address=f"{lan}.12", port=2379, **tcp))
    plan = hosts.provision("plan", name, status=9)
    assert "h2: conflict: python3" in plan and "listens at TCP port 2379" in plan
    hosts.ssh("h2", "systemctl stop stranger")
    # The daemons and sockets of the inventory itself are not in its way.
    hosts.provision("apply", name)
    hosts.verified(name)
    assert hosts.json("plan", name)["changes"] == []
    hosts.provision("destroy", name, "--yes")


def test_a_second_nic_on_the_lan_is_named(mixed: Hosts) -> None:
    """Peers that send to it reach no container; with arp_ignore they do not send to it."""
    hosts, lan = mixed, mixed.networks[1]
    name = hosts.inventory("routes.yml")
    hosts.provision("apply", name)
    hosts.verified(name)
    mac = hosts.ssh("h2", SECOND_NIC.replace("LAN", lan)).split()[-1]
    try:
        # What an ARP reply by the second NIC does.
        hosts.ssh("h1", f"ip neigh replace {lan}.12 lladdr {mac} dev eth1 nud permanent")
        warning = f"eth1 and eth2 are both on {lan}.0/24"
        assert warning in hosts.warnings("plan", name)
        failed = hosts.json("verify", name, status=7)["checks"]
        assert any(c["check"] == "ping" and c["to"] == "c2" for c in failed if not c["ok"])
        hosts.ssh("h2", "sysctl -qw net.ipv4.conf.all.arp_ignore=1")
        hosts.ssh("h1", f"ip neigh del {lan}.12 dev eth1")
        hosts.verified(name)
        assert warning not in hosts.warnings("plan", name)
    finally:
        hosts.ssh("h1", f"ip neigh del {lan}.12 dev eth1", check=False)
        hosts.ssh("h2", "sysctl -qw net.ipv4.conf.all.arp_ignore=0; ip link del eth2")
    hosts.provision("destroy", name, "--yes")


def test_things_of_another_inventory_have_an_owner(mixed: Hosts) -> None:
    """Its networks, ranges and containers are named with it, and what to do about them."""
    hosts = mixed
    name = hosts.inventory("routes.yml")
    hosts.provision("apply", name)
    (owner,) = re.findall(r"^name: (\S+)", (hosts.lab.folder / name).read_text(), re.MULTILINE)
    other = hosts.inventory("routes.yml", (f"name: {owner}", "name: other"), to="other.yml")
    plan = hosts.json("plan", other, status=9)
    messages = [conflict["found"] for conflict in plan["conflicts"]]
    assert f"docker_network blue belongs to inventory {owner}" in messages, messages
    assert f"container c1 belongs to inventory {owner}" in messages, messages
    text = hosts.provision("plan", other, status=9)
    assert f"destroy it by the file of {owner}" in text, text
    # A container of others on our network keeps it; the command is named that helps.
    hosts.ssh("h1", "docker run -d --name app --network blue busybox sleep 9999")
    text = json.dumps(hosts.json("destroy", name, "--yes", status=9))
    assert "network blue has containers of others: app" in text, text
    assert "docker network disconnect blue app" in text, text
    hosts.ssh("h1", "docker network disconnect blue app && docker rm -f app")
    hosts.provision("destroy", name, "--yes")

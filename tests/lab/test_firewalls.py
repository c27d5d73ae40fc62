"""Firewalls on booted hosts: ufw on h1, firewalld on h2, nftables.service on h3.

The default run uses trixie; `--full` repeats it with mixed suites.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.lab import bringup, teardown
from provision.lab.layout import MIXED, Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges
from tests.lab.hosts import Hosts

pytestmark = pytest.mark.lab

TWO = """name: two
hosts:
  h1: {{address: {data}.11}}
  h2: {{address: {data}.12}}
  h3: {{address: {data}.13}}
networks:
  blue: {{method: routes, cidr: 172.20.0.0/16}}
  wide: {{method: vxlan, cidr: 172.31.0.0/16}}
containers:
  c1: {{host: h1, network: blue}}
  c2: {{host: h2, network: blue}}
  c3: {{host: h3, network: blue}}
  w1: {{host: h1, network: wide}}
  w2: {{host: h2, network: wide}}
  w3: {{host: h3, network: wide}}
"""
OPEN = {
    "h1": "ufw allow proto udp from {data}.0/24 to any port 4789",
    "h2": "firewall-cmd --zone docker --add-source 172.20.0.0/16 && "
    'firewall-cmd --zone public --add-rich-rule \'rule family="ipv4" '
    'source address="{data}.0/24" port port="4789" protocol="udp" accept\'',
    "h3": "nft insert rule inet filter input ip saddr {data}.0/24 udp dport 4789 accept",
}
"""The commands that plan and verify name."""


@pytest.fixture(scope="module", params=["trixie", pytest.param(MIXED, marks=pytest.mark.full)])
def walled(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    """Three hosts, each behind another firewall."""
    lab = Lab(Path(tempfile.mkdtemp(prefix="provision-lab-firewalls-", dir="/var/tmp")))
    walls = {"h1": "ufw", "h2": "firewalld", "h3": "nftables"}
    choices = {host: {"firewall": wall} for host, wall in walls.items()}
    options = UpOptions(3, request.param, False, free_ranges(lab), {}, choices)
    try:
        bringup.up(lab, options, say=print)
        yield Hosts(lab)
    finally:
        teardown.down(lab, say=print)
        shutil.rmtree(lab.folder)


def written(hosts: Hosts) -> str:
    """The file name of the inventory with this lab's addresses."""
    (hosts.lab.folder / "two.yml").write_text(TWO.format(data=hosts.networks[1]))
    return "two.yml"


def failures(result: Any) -> dict[tuple[str, str], str]:
    """The detail of each ping that failed, by source and target."""
    pings = (check for check in result["checks"] if check["check"] == "ping")
    return {(check["from"], check["to"]): check["detail"] for check in pings if not check["ok"]}


def changes(hosts: Hosts, inventory: str) -> list[tuple[str, str, str]]:
    """Host, kind and verb of each change of the plan."""
    planned = hosts.json("plan", inventory)["changes"]
    return sorted((change["host"], change["kind"], change["verb"]) for change in planned)


def test_firewalls_are_named_and_a_flush_is_followed(walled: Hosts) -> None:
    """One boot: what is dropped, the commands that open it, and rules that are taken away."""
    hosts, data = walled, walled.networks[1]
    name = written(hosts)
    _reported(hosts, name, data)
    for host, command in OPEN.items():
        hosts.ssh(host, command.format(data=data))
    hosts.verified(name)
    _switched_off(hosts, name)
    _flushed(hosts, name, data)
    hosts.provision("destroy", name, "--yes")
    assert not any(hosts.everywhere("ls -d /etc/provision", check=False).values())


def _reported(hosts: Hosts, name: str, data: str) -> None:
    """`plan` and `verify` name the firewall, the packets and the command; nothing is opened."""
    hosts.provision("apply", name)
    failed = failures(hosts.json("verify", name, status=7))
    assert failed.keys() == {
        *(("c1", "c2"), ("c3", "c2")),
        *((a, b) for a in ("w1", "w2", "w3") for b in ("w1", "w2", "w3") if a != b),
    }
    udp = f"drops UDP 4789 from {data}.0/24 on eth1, which network wide needs"
    assert (
        f"h1: ufw {udp}: `ufw allow proto udp from {data}.0/24 to any port 4789`"
        in (failed["w2", "w1"])
    )
    assert f"h2: firewalld {udp}" in failed["w1", "w2"]
    assert "--add-source 172.20.0.0/16" in failed["c1", "c2"]
    assert f"h3: nftables (chain inet filter input) {udp}" in failed["w1", "w3"]
    assert changes(hosts, name) == []


def _switched_off(hosts: Hosts, name: str) -> None:
    """`ufw disable` leaves FORWARD at ACCEPT, where Docker had DROP."""
    wait = "until [ -e /run/provision-two/forward-drop ]; do sleep 0.5; done"
    hosts.ssh("h1", f"timeout 60 sh -c '{wait}'")
    hosts.ssh("h1", "ufw disable")
    policy = "h1: the policy of FORWARD is ACCEPT, where Docker had DROP"
    assert policy in hosts.warnings("plan", name)
    hosts.ssh("h1", "iptables -P FORWARD DROP; ufw --force enable")


def _flushed(hosts: Hosts, name: str, data: str) -> None:
    """The follower restores a chain; what needs a restart of Docker is refused without consent."""
    chain = "iptables -S | sed -n 's/^-N \\(PROV-.*\\)/\\1/p'"
    hosts.ssh(
        "h1",
        f'c=$({chain}); iptables-save | grep -v -e "$c" | iptables-restore; '
        f"timeout 60 sh -c 'until iptables -S DOCKER-USER | grep -q \"$1\"; do sleep 0.2; done' "
        'sh "$c"',
    )
    hosts.verified(name)
    hosts.ssh("h3", "systemctl restart nftables")
    hosts.ssh("h3", OPEN["h3"].format(data=data))
    back = "until iptables-save -t nat | grep -q '^-A POSTROUTING .*PROV-'; do sleep 0.2; done"
    hosts.ssh("h3", f'timeout 60 sh -c "{back}"')
    assert "PROV-" not in hosts.ssh("h3", "iptables-save -t filter"), "a chain without a hook"
    flushed = "the firewall was flushed: systemctl restart docker"
    assert flushed in hosts.provision("plan", name, status=9)
    result = hosts.json("verify", name, "-k", "drift", status=7)
    assert flushed in str([check["detail"] for check in result["checks"]])
    hosts.provision("apply", name, status=9)
    assert "txn" not in hosts.ssh("h3", "ls /var/lib/provision")
    hosts.ssh("h3", "systemctl restart docker")
    hosts.verified(name)
    assert changes(hosts, name) == []

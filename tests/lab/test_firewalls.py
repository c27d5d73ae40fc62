"""Firewalls on booted hosts: ufw on h1, firewalld on h2, nftables.service on h3.

The default run uses trixie. `--full` repeats it with mixed suites and adds reboots, reloads, rules
deleted by hand and firewalls switched off; test_firewalls_managed.py has every method.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.lab import bringup, power, teardown
from provision.lab.layout import MIXED, Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges
from tests.lab.hosts import Hosts, assert_same

pytestmark = pytest.mark.lab

TWO = """name: two
{firewall}
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
OPEN_NFT = "nft insert rule inet filter input ip saddr {data}.0/24 udp dport 4789 accept"
"""What the user must do, as provision cannot: nftables.service has rules of the user's own."""
FILES = """
cat /etc/ufw/*.rules 2>/dev/null
find /etc/firewalld -type f -print -exec cat {} + 2>/dev/null | sort
firewall-cmd --list-all-zones 2>/dev/null
:
"""
"""The files of ufw and firewalld, and the zones at runtime."""


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


def written(hosts: Hosts, firewall: str) -> str:
    """The inventory with this value of `firewall`; its file name, always the same."""
    text = TWO.format(firewall=f"firewall: {firewall}", data=hosts.networks[1])
    (hosts.lab.folder / "two.yml").write_text(text)
    return "two.yml"


def failures(result: Any) -> dict[tuple[str, str], str]:
    """The detail of each ping that failed, by source and target."""
    pings = (check for check in result["checks"] if check["check"] == "ping")
    return {(check["from"], check["to"]): check["detail"] for check in pings if not check["ok"]}


def changes(hosts: Hosts, inventory: str) -> list[tuple[str, str, str]]:
    """Host, kind and verb of each change of the plan."""
    planned = hosts.json("plan", inventory)["changes"]
    return sorted((change["host"], change["kind"], change["verb"]) for change in planned)


def test_firewalls_are_named_opened_flushed_and_closed(walled: Hosts) -> None:
    """From an inventory that only reports to its destroy."""
    hosts, data = walled, walled.networks[1]
    hosts.ssh("h1", "ufw allow proto tcp from 192.0.2.0/24 to any port 99")
    before = hosts.everywhere(FILES)
    name = written(hosts, "report")
    _reported(hosts, name, data)
    hosts.ssh("h3", OPEN_NFT.format(data=data))
    name = written(hosts, "manage")
    rules = [("h1", "firewall_rule", "create"), *[("h2", "firewall_rule", "create")] * 2]
    assert changes(hosts, name) == rules
    hosts.provision("apply", name)
    hosts.verified(name)
    _flushed(hosts, name, data)
    hosts.provision("destroy", name, "--yes")
    assert_same(before, hosts.everywhere(FILES))
    assert not any(hosts.everywhere("ls -d /etc/provision", check=False).values())


@pytest.mark.full
def test_opened_firewalls_stay_open_over_events(walled: Hosts) -> None:
    """A reboot, a reload, rules that a person deletes, and a ufw and firewalld switched off."""
    hosts, data = walled, walled.networks[1]
    hosts.ssh("h3", OPEN_NFT.format(data=data))
    name = written(hosts, "manage")
    hosts.provision("apply", name)
    hosts.verified(name)
    hosts.ssh("h2", "firewall-cmd --zone=docker --remove-source=172.20.0.0/16")
    assert changes(hosts, name) == [("h2", "firewall_rule", "update")]
    hosts.provision("apply", name)
    power.reboot(hosts.lab, ("h1", "h2"), say=print)
    hosts.verified(name)
    hosts.ssh("h2", "firewall-cmd --reload && systemctl restart firewalld")
    hosts.ssh("h1", "ufw reload")
    hosts.verified(name)
    assert changes(hosts, name) == []
    _switched_off(hosts, name, "h1", "ufw disable", "ufw --force enable")
    hosts.ssh("h2", "iptables -F")
    assert "firewall was flushed" in hosts.provision("plan", name)
    hosts.provision("apply", name, status=9)
    hosts.provision("apply", name, "--restart-docker")
    hosts.verified(name)
    restart = "systemctl restart docker"
    _switched_off(
        hosts, name, "h2", "systemctl stop firewalld", f"systemctl start firewalld; {restart}"
    )
    hosts.provision("destroy", name, "--yes")


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
    assert "to /etc/nftables.conf, which nftables.service loads" in failed["w1", "w3"]
    assert changes(hosts, name) == []


def _switched_off(hosts: Hosts, name: str, host: str, off: str, on: str) -> None:
    """A firewall that goes off leaves FORWARD at ACCEPT, and our rules in its files.

    firewalld flushes the chains of iptables as well; Docker 20.10 makes its own only at a restart.
    Newer firewalld (2.3 of Debian 13) leaves them alone, unless it has direct rules.
    """
    wait = "until [ -e /run/provision-two/forward-drop ]; do sleep 0.5; done"
    hosts.ssh(host, f"timeout 60 sh -c '{wait}'")
    hosts.ssh(host, off)
    kinds = {kind for changed, kind, _ in changes(hosts, name) if changed == host}
    if not kinds and "firewalld" in off:
        hosts.verified(name)
        hosts.ssh(host, on)
        hosts.verified(name)
        return
    assert kinds & {"forward_policy", "docker_firewall"} and "firewall_rule" not in kinds
    result = hosts.json("verify", name, "-k", "drift", status=7)
    detail = next(check["detail"] for check in result["checks"] if not check["ok"])
    accept = "the policy of FORWARD is ACCEPT, where Docker had DROP"
    assert (accept if "forward_policy" in kinds else "the firewall was flushed") in detail
    hosts.provision("apply", name, "--restart-docker")
    assert hosts.ssh(host, "iptables -S FORWARD | head -n 1").strip() == "-P FORWARD DROP"
    hosts.ssh(host, on)
    hosts.verified(name)
    assert changes(hosts, name) == []


def _flushed(hosts: Hosts, name: str, data: str) -> None:
    """The follower restores a chain; what needs a restart of Docker is refused without consent."""
    chain = "iptables -S | sed -n 's/^-N \\(PROV-.*\\)/\\1/p'"
    hosts.ssh(
        "h1",
        f'c=$({chain}); iptables-save | grep -v -e "$c" | iptables-restore; '
        f"timeout 60 sh -c 'until iptables -S DOCKER-USER | grep -q \"$1\"; do sleep 0.2; done' "
        'sh "$c"',
    )
    hosts.ssh("h3", "systemctl restart nftables")
    hosts.ssh("h3", OPEN_NFT.format(data=data))
    back = "until iptables-save -t nat | grep -q '^-A POSTROUTING .*PROV-'; do sleep 0.2; done"
    hosts.ssh("h3", f'timeout 60 sh -c "{back}"')
    assert "PROV-" not in hosts.ssh("h3", "iptables-save -t filter"), "a chain without a hook"
    plan = hosts.provision("plan", name)
    assert "! the firewall was flushed: systemctl restart docker" in plan
    result = hosts.json("verify", name, "-k", "drift", status=7)
    assert "the firewall was flushed" in str([c["detail"] for c in result["checks"]])
    hosts.provision("apply", name, status=9)
    assert "txn" not in hosts.ssh("h3", "ls /var/lib/provision")
    hosts.provision("apply", name, "--restart-docker")
    hosts.verified(name)
    assert changes(hosts, name) == []

"""`firewall: manage` with ufw and with firewalld on booted hosts of three suites, every method."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.lab import bringup, power, teardown
from provision.lab.layout import MIXED, Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges
from tests.lab.hosts import HOSTS, RESTART_DOCKER, Hosts, assert_same, without_records

pytestmark = [pytest.mark.lab, pytest.mark.full]

NETWORKS = {
    "blue": "{{method: routes, cidr: 172.20.0.0/16}}",
    "wide": "{{method: vxlan, cidr: 172.31.0.0/16}}",
    "over": "{{method: flannel, cidr: 172.22.0.0/16, backend: vxlan}}",
    "safe": "{{method: wireguard, cidr: 172.26.0.0/16}}",
}
LISTING = """
cat /etc/ufw/*.rules /etc/firewalld/zones/* /etc/firewalld/*.xml 2>/dev/null
command -v ufw >/dev/null && ufw status verbose
command -v firewall-cmd >/dev/null && firewall-cmd --permanent --list-all-zones
find /etc/ufw /etc/firewalld ! -type d -printf '%p %m %u %g\\n' 2>/dev/null | sort
ls -d /var/lib/provision/firewall 2>/dev/null
:
"""
"""The firewall as the user has saved it, and its files with mode and owner."""
RUNTIME = "firewall-cmd --list-all-zones 2>/dev/null; iptables -S | grep ufw-user; :"


# firewalld 2.5 (sid) answers some time after systemd has started it, so that Docker overlooks it
# at boot. `plan` says `systemctl restart docker` then.
NO_ZONE = """
! command -v firewall-cmd >/dev/null || firewall-cmd --get-zones | grep -qw docker ||
  systemctl restart docker
"""


@dataclass(frozen=True)
class Tool:
    """How a user works with a firewall; LAN is the hosts' network."""

    before: dict[str, str]
    """Host → what its user has made before `apply`: a rule like ours, a file written by hand."""
    reload: str
    closed: dict[str, str]
    """Host → rules of ours that a person deletes."""
    off: str
    on: str
    more: str
    """A rule of the user for port 4444."""


UFW = Tool(
    {
        "h1": "ufw allow proto udp from LAN.0/24 to any port 4789",
        "h2": "echo '# written by hand' >>/etc/ufw/user.rules",
        "h3": "ufw allow proto tcp from 192.0.2.0/24 to any port 99 comment mine",
    },
    "ufw reload",
    {
        "h1": "ufw delete allow proto udp from LAN.0/24 to any port 8472",
        "h2": "ufw delete allow proto udp from LAN.0/24 to any port 4789",
    },
    "ufw disable",
    "ufw --force enable",
    "ufw allow 4444/tcp",
)
_RULE = 'rule family="ipv4" source address="LAN.0/24" port port="{port}" protocol="udp" accept'
_VXLAN, _FLANNEL = _RULE.format(port=4789), _RULE.format(port=8472)
FIREWALLD = Tool(
    {
        "h1": f"firewall-cmd --add-rich-rule='{_VXLAN}'"
        f" && firewall-cmd --permanent --add-rich-rule='{_VXLAN}'",
        # It is not in effect before a reload.
        "h2": f"firewall-cmd --permanent --add-rich-rule='{_VXLAN}'",
        "h3": "sed 's/<zone>/<!-- by hand --><zone>/' /usr/lib/firewalld/zones/public.xml"
        " >/etc/firewalld/zones/public.xml && firewall-cmd --reload",
    },
    "firewall-cmd --reload && systemctl restart firewalld",
    {
        "h1": "firewall-cmd --zone=docker --remove-source=172.20.0.0/16",
        "h2": f"firewall-cmd --permanent --remove-rich-rule='{_FLANNEL}'",
        "h3": f"firewall-cmd --permanent --remove-rich-rule='{_FLANNEL}';"
        f" firewall-cmd --remove-rich-rule='{_FLANNEL}'",
    },
    "systemctl stop firewalld",
    "systemctl start firewalld",
    "firewall-cmd --permanent --add-port=4444/tcp && firewall-cmd --add-port=4444/tcp",
)
TOOLS = {"ufw": UFW, "firewalld": FIREWALLD}


@pytest.fixture(scope="module", params=TOOLS)
def managed(request: pytest.FixtureRequest) -> Iterator[tuple[Hosts, Tool]]:
    """Three hosts of three suites behind one kind of firewall."""
    lab = Lab(Path(tempfile.mkdtemp(prefix="provision-lab-firewalls-", dir="/var/tmp")))
    try:
        options = UpOptions(3, MIXED, False, free_ranges(lab), {"firewall": request.param})
        bringup.up(lab, options, say=print)
        hosts = Hosts(lab)
        hosts.everywhere(NO_ZONE)
        yield hosts, TOOLS[request.param]
    finally:
        teardown.down(lab, say=print)
        shutil.rmtree(lab.folder)


def written(hosts: Hosts, names: Collection[str] = NETWORKS) -> str:
    """The file name of an inventory with these networks, by default one of each method."""
    data = hosts.networks[1]
    lines = ["name: four", "firewall: manage", "hosts:"]
    lines += [f"  {host}: {{address: {data}.1{host[1]}}}" for host in HOSTS]
    lines += ["networks:", *(f"  {name}: {NETWORKS[name].format()}" for name in names)]
    lines += ["containers:"]
    lines += [
        f"  {name}{host[1]}: {{host: {host}, network: {name}}}" for name in names for host in HOSTS
    ]
    (hosts.lab.folder / "four.yml").write_text("\n".join(lines) + "\n")
    return "four.yml"


def changed_kinds(hosts: Hosts, inventory: str) -> dict[str, set[str]]:
    """The kinds that the plan changes, by host."""
    changes = hosts.json("plan", inventory)["changes"]
    return {
        host: {change["kind"] for change in changes if change["host"] == host}
        for host in sorted({change["host"] for change in changes})
    }


def test_every_method_is_opened_and_closed_again(managed: tuple[Hosts, Tool]) -> None:
    """From hosts with rules of their user to the same files, over reload, reboot and deletions."""
    hosts, tool = managed
    lan = hosts.networks[1]
    for host, command in tool.before.items():
        hosts.ssh(host, command.replace("LAN", lan))
    before, listed = hosts.capture(), hosts.everywhere(LISTING)
    runtime = hosts.everywhere(RUNTIME)
    name = written(hosts)
    hosts.provision("apply", name)
    hosts.verified(name)
    assert changed_kinds(hosts, name) == {}
    hosts.everywhere(tool.reload)
    hosts.verified(name)
    assert changed_kinds(hosts, name) == {}
    for host, command in tool.closed.items():
        hosts.ssh(host, command.replace("LAN", lan))
    assert changed_kinds(hosts, name) == {host: {"firewall_rule"} for host in tool.closed}
    hosts.provision("apply", name)
    power.reboot(hosts.lab, ("h1", "h2"), say=print)
    hosts.verified(name, within_s=120)
    assert changed_kinds(hosts, name) == {}
    hosts.provision("destroy", name, "--yes")
    assert_same(listed, hosts.everywhere(LISTING))
    # On h2 the rule that its user had saved is in effect now.
    del runtime["h2"]
    assert_same(runtime, hosts.everywhere(RUNTIME))
    assert_same(_files(before), _files(without_records(hosts.capture())))


def test_a_firewall_that_is_switched_on_later_is_opened(managed: tuple[Hosts, Tool]) -> None:
    """No rule while it is off; those of an inventory stay in its files while it is off."""
    hosts, tool = managed
    hosts.everywhere(tool.off)
    hosts.everywhere(f"iptables -P FORWARD ACCEPT; {RESTART_DOCKER}")
    name = written(hosts)
    hosts.provision("apply", name)
    hosts.verified(name)
    assert not any(hosts.everywhere("ls -d /etc/provision/four/firewall", check=False).values())
    hosts.everywhere(f"{tool.on}; {RESTART_DOCKER}")
    listed = hosts.everywhere(LISTING)
    assert set.union(*changed_kinds(hosts, name).values()) == {"firewall_rule"}
    hosts.provision("apply", name)
    hosts.verified(name)
    # A rule of the user between ours: the files are not given back as they were.
    hosts.ssh("h1", tool.more)
    hosts.everywhere(tool.off)
    assert "firewall_rule" not in set().union(*changed_kinds(hosts, name).values())
    hosts.provision("destroy", name, "--yes")
    hosts.everywhere(f"{tool.on}; {RESTART_DOCKER}")
    after = hosts.everywhere(LISTING)
    added = after.pop("h1")
    assert "4444" in added and "51820" not in added and "provision" not in added
    del listed["h1"]
    assert_same(listed, after)


def test_rules_that_have_lost_their_claims_are_ours(managed: tuple[Hosts, Tool]) -> None:
    """`apply` writes the claims again, and `destroy` removes the rules without them."""
    hosts, tool = managed
    if tool is not UFW:
        pytest.skip("a rule of firewalld has no room for a mark")
    listed, name = hosts.everywhere(LISTING), written(hosts, ("wide",))
    hosts.provision("apply", name)
    hosts.ssh("h2", "rm -rf /etc/provision")
    plan = hosts.provision("plan", name)
    assert plan.count(" is ours, damaged: its claim /etc/provision/four/firewall/") == 1, plan
    hosts.provision("apply", name)
    hosts.verified(name)
    assert changed_kinds(hosts, name) == {}
    hosts.everywhere("rm -rf /etc/provision")
    hosts.provision("destroy", name, "--yes")
    assert_same(listed, hosts.everywhere(LISTING))


def _files(capture: dict[str, str]) -> dict[str, str]:
    """The files of a capture: a reboot changes the order of Docker's rules."""
    return {host: text.partition("# files\n")[2] for host, text in capture.items()}

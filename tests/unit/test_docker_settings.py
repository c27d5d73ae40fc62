"""Settings of Docker and of forwarding that plan refuses or names."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from provision.engine import desired, docker_settings, preflight
from provision.facts.firewall import Firewall
from provision.inventory.load import load
from provision.model.access import Access
from provision.resources.base import Ref
from tests.cases import test_cases

ROOT = Path(__file__).parents[2]
DOCKER = {"docker": {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}}
INVENTORY = load(ROOT / "inventories/routes.yml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"podman": True}, "Podman 26.1.5 answers at Docker's socket"),
        ({"nftables_backend": True}, "accepts packets of other hosts only with a mark"),
        (
            {"nftables_backend": True, "firewall": Firewall(docker_mark="010")},
            "with a mark, for which 010 cannot be used",
        ),
        (
            {
                "nftables_backend": True,
                "firewall": Firewall(":FORWARD DROP [0:0]", docker_mark="0x2000/0x2000"),
            },
            "the chain FORWARD of iptables drops",
        ),
        ({"firewall": Firewall(docker_iptables=False)}, '"iptables": false'),
        ({"rootless": True}, "Docker runs rootless"),
    ],
)
def test_each_setting_is_refused_by_its_name(change: dict[str, Any], words: str) -> None:
    """Only the host with the setting is refused."""
    facts = test_cases.facts(INVENTORY, DOCKER)
    assert not [*docker_settings.problems(facts["h1"])]
    facts["h2"] = replace(facts["h2"], **change)
    (problem,) = preflight.problems(INVENTORY, facts)
    assert problem.host == "h2" and words in problem.message and problem.hint


def test_a_host_of_the_backend_nftables_needs_nft() -> None:
    """The tables of the inventory are made by this command; apply installs it, or plan says so."""
    facts = test_cases.facts(INVENTORY, DOCKER)
    facts["h1"] = replace(facts["h1"], tools=facts["h1"].tools - {"nft"})
    assert not preflight.problems(INVENTORY, facts)
    backend = Firewall(docker_mark="1")
    facts["h1"] = replace(facts["h1"], nftables_backend=True, firewall=backend)
    packages = [ref for ref in desired.wanted(INVENTORY, facts) if ref.name == "nftables"]
    assert packages == [Ref("h1", "package", "nftables")]
    facts["h1"] = replace(facts["h1"], package_manager="dnf")
    (problem,) = preflight.problems(INVENTORY, facts)
    assert problem.host == "h1" and "it lacks nft" in problem.message


@pytest.mark.parametrize(
    ("access", "senders"),
    [
        (Access(hosts=True), ""),
        (Access(), ""),
        (Access(hosts=True, ranges=(IPv4Network("10.9.0.0/16"),)), "10.9.0.0/16"),
        (Access(interfaces=("tailscale0",)), "tailscale0"),
    ],
)
def test_access_that_dockers_nftables_drop_is_refused(access: Access, senders: str) -> None:
    """Before a host is armed; Docker's backend iptables lets each of them in."""
    network = replace(INVENTORY.networks["blue"], access=access)
    inventory = replace(INVENTORY, networks={"blue": network})
    facts = test_cases.facts(inventory, DOCKER)
    assert not preflight.problems(inventory, facts)
    backend = Firewall(docker_mark="1")
    facts["h2"] = replace(facts["h2"], nftables_backend=True, firewall=backend)
    problems = preflight.problems(inventory, facts)
    assert [problem.host for problem in problems] == (["h2"] if senders else [])
    assert all(f"packets of {senders}, which access of" in each.message for each in problems)


def test_a_package_without_its_command_is_refused() -> None:
    """apt would do nothing about it, also for a host whose missing commands are installed."""
    facts = test_cases.facts(INVENTORY, DOCKER)
    tools = facts["h2"].tools - {"iptables", "nsenter"}
    # etcd is for other networks; nsenter is required of no host, but planned for each.
    packages = {"iptables": "iptables", "etcd": "etcd-server", "nsenter": "util-linux"}
    facts["h2"] = replace(facts["h2"], tools=tools, incomplete_packages=packages)
    problems = list(preflight.problems(INVENTORY, facts))
    assert {problem.host for problem in problems} == {"h2"}
    assert [problem.message for problem in problems] == [
        "iptables is installed, but without the command iptables",
        "util-linux is installed, but without the command nsenter",
    ]
    assert "`apt-get install --reinstall iptables`" in problems[0].hint


def test_a_file_that_switches_forwarding_off_is_named() -> None:
    """With the line that does it."""
    facts = test_cases.facts(INVENTORY, DOCKER)
    setting = ("/etc/sysctl.d/99-hard.conf", "net.ipv4.ip_forward = 0")
    facts["h1"] = replace(facts["h1"], firewall=Firewall(stops_forwarding=(setting,)))
    (warning,) = preflight.warnings(INVENTORY, facts)
    assert str(warning).startswith("h1: /etc/sysctl.d/99-hard.conf has net.ipv4.ip_forward = 0")

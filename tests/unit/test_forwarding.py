"""Interfaces that forward nothing although the host does, and files that stop forwarding."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.facts import firewall
from provision.facts.lines import KeyedLines
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.resources.base import Origin
from provision.resources.kinds.sysctl import Sysctl, forwarding_key
from provision.resources.lib.nic_records import NicRoute
from provision.resources.render import program_text
from provision.resources.script import commands
from tests.cases.test_cases import facts as case_facts

ORIGIN = Origin("h1", "demo")
ETH1 = "net.ipv4.conf.eth1.forwarding"
APPLIED = "kept net.ipv4.ip_forward 1\n"


def eth1(text: str) -> tuple[Sysctl, bool]:
    """The setting of eth1 that the output of the probe is read as, and whether it is ours."""
    entries = {entry.resource.name: entry for entry in Sysctl.parse(text, ORIGIN)}
    resource = entries[ETH1].resource
    assert isinstance(resource, Sysctl)
    return resource, entries[ETH1].ours


@pytest.mark.parametrize(
    ("text", "value", "original", "ours"),
    [
        ("interface eth1 0", "0", "0", False),
        (APPLIED + "interface eth1 0", "0", "1", False),
        ("was net.ipv4.ip_forward demo 0\ninterface eth1 0", "0", "0", False),
        (f"was {ETH1} demo 1", "1", "1", True),
        (f"was {ETH1} demo 0\ninterface eth1 0", "0", "0", True),
        (f"was {ETH1} other 0\ninterface eth1 0", "0", "0", False),
    ],
)
def test_the_first_value_is_that_before_the_first_apply(
    text: str, value: str, original: str, ours: bool
) -> None:
    """Once an inventory is applied, eth1 had the value that ip_forward had then."""
    setting, marked = eth1(f"now net.ipv4.ip_forward 1\n{text}")
    assert (setting.value, setting.original, marked) == (value, original, ours)


def test_a_vlan_interface_has_a_dot_in_its_name() -> None:
    """The key has `/` for it, as sysctl.conf(5) says, and the file of the record has `:`."""
    key = forwarding_key("eth1.7")
    assert key == "net.ipv4.conf.eth1/7.forwarding"
    text = "now net.ipv4.ip_forward 1\nwas net.ipv4.conf.eth1:7.forwarding demo 1"
    (_, entry) = Sysctl.parse(text, ORIGIN)
    assert entry.resource.name == key and entry.ours
    removal = commands(entry.resource.delete())
    assert "/proc/sys/net/ipv4/conf/eth1.7/forwarding" in removal
    assert "/var/lib/provision/was/demo/sysctl/net.ipv4.conf.eth1:7.forwarding" in removal


SYSCTL, NETWORK = "etc/sysctl.d", "etc/systemd/network"
OFF, ON = "net.ipv4.ip_forward = 0\n", "net.ipv4.ip_forward=1\n"
NO = "[Network]\nIPv4Forwarding = no\n"


def settings_of(folder: Path, files: dict[str, str]) -> firewall.Firewall:
    """The settings that the look reads from these files, below the root of a host."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    part = re.search(r"^grep -HsiE.*?sed '[^']*'$", program_text("look/firewall.sh"), re.M | re.S)
    assert part
    script = re.sub(r" /(?=etc/|run/|usr/)", f" {folder}/", part[0])
    output = subprocess.run(("sh", "-c", script), capture_output=True, text=True).stdout
    return firewall.parse(KeyedLines(output))


@pytest.mark.parametrize(
    ("files", "forwards"),
    [
        ({}, False),
        ({f"{SYSCTL}/50-a.conf": ON}, True),
        ({f"{SYSCTL}/50-a.conf": "net.ipv4.conf.all.forwarding = 1\n"}, True),
        ({f"{SYSCTL}/50-a.conf": "net.ipv4.conf.eth1.forwarding = 1\n"}, False),
        ({f"{SYSCTL}/50-a.conf": ON, f"{SYSCTL}/60-b.conf": OFF}, False),
        # Only `sysctl --system` reads it.
        ({"etc/sysctl.conf": ON}, False),
        # ufw sets this when it starts, before Docker.
        ({"etc/ufw/sysctl.conf": "net/ipv4/ip_forward=1\n"}, True),
        ({f"{SYSCTL}/50-a.conf": ON, "etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n"}, True),
        ({"etc/systemd/networkd.conf": NO.replace("no", "yes")}, True),
        ({"etc/systemd/networkd.conf.d/a.conf": NO.replace("no", "yes")}, True),
        ({f"{NETWORK}/10-lan.network": NO.replace("no", "yes")}, False),
        ({f"{NETWORK}/10-lan.network": NO}, False),
    ],
)
def test_forwarding_that_is_on_before_docker_is_seen(
    tmp_path: Path, files: dict[str, str], *, forwards: bool
) -> None:
    """Then the policy of FORWARD is not Docker's."""
    found = settings_of(tmp_path, files)
    assert found.forwards_at_boot == forwards
    assert not any("ufw" in path for path, _ in found.stops_forwarding)


@pytest.mark.parametrize(
    ("files", "stopping"),
    [
        ({f"{SYSCTL}/10-hard.conf": OFF}, [f"{SYSCTL}/10-hard.conf"]),
        (
            {"usr/local/lib/sysctl.d/10-hard.conf": f"-{OFF}"},
            ["usr/local/lib/sysctl.d/10-hard.conf"],
        ),
        # The last file by its name counts, whatever folder it is in.
        ({f"{SYSCTL}/10-hard.conf": OFF, "usr/lib/sysctl.d/99-docker.conf": ON}, []),
        ({f"{SYSCTL}/10-a.conf": ON, "run/sysctl.d/20-b.conf": OFF}, ["run/sysctl.d/20-b.conf"]),
        ({f"{SYSCTL}/99-a.conf": ON, "etc/sysctl.conf": OFF}, ["etc/sysctl.conf"]),
        # The boot does not read it.
        ({f"{SYSCTL}/99-a.conf": OFF, "etc/sysctl.conf": ON}, [f"{SYSCTL}/99-a.conf"]),
        # A file of an earlier folder replaces one of the same name.
        ({f"{SYSCTL}/50-a.conf": ON, "usr/lib/sysctl.d/50-a.conf": OFF}, []),
        ({f"{SYSCTL}/50-a.conf": OFF + ON}, []),
        # Another name of the same setting, and another setting.
        ({f"{SYSCTL}/50-a.conf": OFF + "net/ipv4/conf/all/forwarding=1\n"}, []),
        (
            {f"{SYSCTL}/50-a.conf": f"net.ipv4.conf.eth1.forwarding=0\n{ON}"},
            [f"{SYSCTL}/50-a.conf"],
        ),
        ({f"{SYSCTL}/50-a.conf": f"# {OFF}"}, []),
        ({f"{NETWORK}/10-lan.network": NO}, [f"{NETWORK}/10-lan.network"]),
        ({f"{NETWORK}/10-lan.network.d/a.conf": NO}, [f"{NETWORK}/10-lan.network.d/a.conf"]),
        (
            {"run/systemd/network/9.network.d/a.conf": NO},
            ["run/systemd/network/9.network.d/a.conf"],
        ),
        ({"etc/systemd/networkd.conf": NO}, ["etc/systemd/networkd.conf"]),
        ({"etc/systemd/networkd.conf.d/a.conf": NO}, ["etc/systemd/networkd.conf.d/a.conf"]),
        ({"etc/systemd/networkd.conf": NO.replace("no", "yes")}, []),
    ],
)
def test_only_files_that_have_an_effect_stop_forwarding(
    tmp_path: Path, files: dict[str, str], stopping: list[str]
) -> None:
    """The look reads them below the root of the host."""
    found = settings_of(tmp_path, files).stops_forwarding
    assert [path.removeprefix(f"{tmp_path}/") for path, _ in found] == stopping


@pytest.mark.parametrize(
    ("off", "egress", "warned"),
    [("eth0", "", True), ("eth0", ", egress: none", False), ("eth1", "", False), ("", "", False)],
)
def test_a_nic_of_the_default_route_that_does_not_forward_is_named(
    tmp_path: Path, off: str, egress: str, warned: bool
) -> None:
    """Containers lose the internet by it; the NIC to the peers is a setting of ours."""
    path = tmp_path / "demo.yml"
    path.write_text(
        "name: demo\nhosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        f"networks: {{blue: {{method: routes, cidr: 172.20.0.0/16{egress}}}}}\n"
        "containers: {c1: {host: h1, network: blue}}\n"
    )
    inventory = load(path)
    facts = case_facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5")})
    route = NicRoute("default", "10.0.2.2", dev="eth0")
    not_forwarding = frozenset({off} - {""})
    facts["h1"] = replace(facts["h1"], default_routes=(route,), not_forwarding=not_forwarding)
    warnings = [str(warning) for warning in preflight.warnings(inventory, facts)]
    message = "h1: eth0 does not forward, so containers of network blue get no answers"
    assert [text.startswith(message) for text in warnings] == [True] * warned


FORWARDED = {
    # h1 reaches h3 by eth0, so the other network lets that forward for all.
    "another network": ("routes", "egress: none, hosts: [h1, h3]", ""),
    "its access": ("routes", "egress: none, hosts: [h1, h2], access: [eth0]", ""),
    # By the NIC, only its tunnel comes in.
    "a tunnel": ("vxlan", "egress: none, hosts: [h1, h3]", "blue"),
    "nothing": ("routes", "egress: none, hosts: [h1, h2]", "blue"),
    "a tunnel of its own": ("vxlan", "hosts: [h1, h3]", "blue red"),
}


@pytest.mark.parametrize("by", FORWARDED)
def test_a_nic_that_any_network_lets_forward_is_not_named(tmp_path: Path, by: str) -> None:
    """A setting is of the host. That the NIC did not forward before is known by its record."""
    method, keys, warned = FORWARDED[by]
    expected = [f"of network {name} get no" for name in warned.split()]
    path = tmp_path / "demo.yml"
    path.write_text(
        "name: demo\nhosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}, "
        "h3: {address: 10.79.0.13}}\nnetworks:\n"
        "  blue: {method: routes, cidr: 172.20.0.0/16, hosts: [h1, h2]}\n"
        f"  red: {{method: {method}, cidr: 172.21.0.0/16, {keys}}}\n"
    )
    inventory = load(path)
    facts = case_facts(inventory, {"docker": dict.fromkeys(("h1", "h2", "h3"), "26.1.5")})
    routes = PeerRoutes.of(
        {
            IPv4Address("10.78.0.12"): PeerRoute("eth1", None),
            IPv4Address("10.79.0.13"): PeerRoute("eth0", None),
        }
    )
    facts["h1"] = replace(
        facts["h1"],
        default_routes=(NicRoute("default", "10.0.2.2", dev="eth0"),),
        not_forwarding=frozenset({"eth0"}),
        peer_routes=routes,
    )
    warnings = [str(warning) for warning in preflight.warnings(inventory, facts)]
    named = [text for text in warnings if "eth0 does not forward" in text]
    assert len(named) == len(expected)
    assert all(end in text for end, text in zip(expected, named, strict=True))

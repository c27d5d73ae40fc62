"""Interfaces that forward nothing although the host does: their first values and the settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.inventory.load import load
from provision.resources.base import Origin
from provision.resources.kinds.sysctl import Sysctl, forwarding_key
from provision.resources.lib.nic_records import NicRoute
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

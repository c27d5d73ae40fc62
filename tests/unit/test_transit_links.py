"""Interfaces by which packets of other hosts' containers come in: firewalls, `ip rule`, NICs."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provision import methods
from provision.engine import preflight
from provision.engine.desired import wanted
from provision.facts.host import HostFacts, Link
from provision.facts.policy import ALL, Policy, PolicyRule
from provision.inventory.load import load
from provision.methods._shared.ovs_facts import OvsFacts
from provision.model.inventory import Inventory
from provision.model.needs import Transit
from provision.resources.kinds.iptables_chain import IptablesChain
from tests.cases.test_cases import facts

HOSTS = {"h1": "10.78.0.11", "h2": "10.78.0.12"}
METHODS = {
    "routes": "method: routes",
    "bgp": "method: bgp, reflectors: [h1]",
    "wireguard": "method: wireguard",
    "vxlan": "method: vxlan, mode: routed",
    "flannel": "method: flannel, etcd: {members: [h1]}",
    "udp": "method: flannel, backend: udp, etcd: {members: [h1]}",
    "host-gw": "method: flannel, backend: host-gw, etcd: {members: [h1]}",
    "direct": "method: flannel, direct_routing: true, etcd: {members: [h1]}",
}


def inventory_of(folder: Path, options: str) -> Inventory:
    """Two hosts with one network."""
    path = folder / "demo.yml"
    hosts = "\n".join(f"  {name}: {{address: {address}}}" for name, address in HOSTS.items())
    path.write_text(
        f"name: demo\nhosts:\n{hosts}\nnetworks:\n  blue: {{{options}, cidr: 172.20.0.0/16}}\n"
    )
    return load(path)


def facts_of(inventory: Inventory) -> dict[str, HostFacts]:
    """Two hosts on one link, with their eth1."""
    return facts(inventory, {"docker": dict.fromkeys(HOSTS, "26.1.5"), "keys": [*HOSTS]})


@pytest.mark.parametrize("method", METHODS)
def test_firewalls_are_asked_for_the_links_that_our_own_chain_lets_in(
    tmp_path: Path, method: str
) -> None:
    """A command for another link would let nothing in."""
    inventory = inventory_of(tmp_path, METHODS[method])
    found = facts_of(inventory)
    network = inventory.networks["blue"]
    needs = methods.firewall_needs(inventory, network, found["h2"])
    asked = {(need.nic, need.bridge) for need in needs if isinstance(need, Transit)}
    accepted = {
        (rule[rule.index("-i") + 1], rule[rule.index("-o") + 1])
        for chain in wanted(inventory, found).values()
        if isinstance(chain, IptablesChain) and chain.table == "filter" and chain.host == "h2"
        for rule in chain.rules
        if rule[-1] == "ACCEPT" and rule[:2] == ("-s", "172.20.0.0/16")
    }
    assert asked and asked == accepted


def rule(interface: str) -> PolicyRule:
    """A rule that drops what comes in by an interface."""
    return PolicyRule(70, ALL, ALL, interface, False, False, "blackhole", ())


@pytest.mark.parametrize("method", METHODS)
def test_a_rule_counts_for_the_interface_by_which_packets_come_in(
    tmp_path: Path, method: str
) -> None:
    """That of a tunnel is its device: a rule for the NIC meets no packet of containers."""
    inventory = inventory_of(tmp_path, METHODS[method])
    found = facts_of(inventory)
    network = inventory.networks["blue"]
    needs = methods.firewall_needs(inventory, network, found["h2"])
    links = {need.nic for need in needs if isinstance(need, Transit)}
    for link in ("eth1", *links):
        host = replace(found["h2"], policy=Policy((rule(link),)))
        problems = preflight.problems(inventory, found | {"h2": host})
        named = [problem for problem in problems if "rule 70" in problem.message]
        assert bool(named) == (link in links), (link, problems)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (METHODS["routes"], True),
        (METHODS["bgp"], True),
        (METHODS["host-gw"], True),
        (METHODS["direct"], True),
        (METHODS["flannel"], True),
        (METHODS["udp"], True),
        (METHODS["vxlan"], False),
        (METHODS["wireguard"], False),
        ("method: ovs-vxlan, datapath: netdev", True),
        ("method: ovs-vxlan, datapath: system", False),
    ],
)
def test_a_second_nic_counts_where_packets_pass_by_the_first_alone(
    tmp_path: Path, options: str, *, named: bool
) -> None:
    """Flannel's chain drops packets of its tunnel from others; a bridge of ours has one NIC."""
    inventory = inventory_of(tmp_path, options)
    found = facts_of(inventory)
    second = Link("eth2", 1500, (IPv4Interface("10.78.0.21/24"),))
    kernel = {**found["h2"].of_methods, OvsFacts: OvsFacts(True)}
    found["h2"] = replace(
        found["h2"], links={**found["h2"].links, "eth2": second}, of_methods=kernel
    )
    messages = [problem.message for problem in preflight.warnings(inventory, found)]
    reasons = [message for message in messages if "only eth1 is let in" in message]
    assert bool(reasons) == named, messages

"""Access to the containers of a network: rules, routes, translations, warnings and probes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision import methods
from provision.checks import access_probe, wire
from provision.checks.access_probe import AccessProbe
from provision.checks.pair_choice import PairChoice
from provision.checks.probe import Endpoint, Listener
from provision.facts import host_probe
from provision.facts.host import HostFacts, Link
from provision.facts.peer_routes import PeerRoute, PeerRoutes
from provision.inventory.load import load
from provision.methods._shared import access_rules
from provision.model.inventory import Inventory
from provision.resources.kinds.iptables_chain import IptablesChain, rules_to_follow
from provision.resources.kinds.routes import Routes
from tests.unit.test_departures import HOST

FILE = """
name: demo
hosts:
  h1: {address: 10.0.0.11}
  h2: {address: 10.0.0.12}
  h3: {address: 10.0.0.13}
networks:
  red: {method: METHOD, cidr: 172.21.0.0/16, hosts: [h1, h2], access: ACCESS}
containers:
  c1: {host: h1, network: red}
  c2: {host: h2, network: red}
"""
"""Two hosts of a network, and one outside of it."""


def inventory(folder: Path, access: str, method: str = "routes") -> Inventory:
    """The inventory with this `access`, and this method with its keys."""
    file = folder / "demo.yml"
    file.write_text(FILE.replace("METHOD", method).replace("ACCESS", access))
    return load(file)


def facts(*, router: str | None = None, docker: tuple[int, ...] = (28, 5)) -> dict[str, HostFacts]:
    """The hosts on one link, or with a router between them."""
    addresses = {f"h{n}": IPv4Address(f"10.0.0.1{n}") for n in (1, 2, 3)}
    via = IPv4Address(router) if router else None
    return {
        host: replace(
            host_probe.parse(host, HOST),
            docker=docker,
            peer_routes=PeerRoutes.of(
                {a: PeerRoute("eth1", via) for h, a in addresses.items() if h != host}
            ),
        )
        for host in addresses
    }


def test_the_chain_accepts_what_access_names_and_drops_the_rest(tmp_path: Path) -> None:
    """Hosts as few ranges, interfaces by name; published ports and answers are left alone."""
    demo = inventory(tmp_path, "[hosts, 10.9.0.0/16, tail0]")
    red = demo.networks["red"]
    rules = access_rules.rules(demo, red, "h2", "br", single_l2=False)
    texts = [" ".join(rule) for rule in rules]
    mark, state = "-m comment --comment provision:demo/red", "-m conntrack"
    assert texts == [
        f"-s {source} -d 172.21.1.0/24 -o br {mark} {state} ! --ctstate DNAT -j ACCEPT"
        for source in ("10.0.0.11/32", "10.0.0.12/31", "10.9.0.0/16")
    ] + [
        f"-d 172.21.1.0/24 -i tail0 -o br {mark} {state} ! --ctstate DNAT -j ACCEPT",
        f"-s 172.21.1.0/24 -i br {mark} {state} --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-d 172.21.1.0/24 ! -i br {mark} {state} ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    ]


def test_a_host_drops_what_leaves_by_the_bridge_for_another_host(tmp_path: Path) -> None:
    """On one layer 2, the host of the container would not see that a stranger sent it."""
    demo = inventory(tmp_path, "[]", "vxlan")
    red = demo.networks["red"]
    *_, last = access_rules.rules(demo, red, "h2", "br", single_l2=True)
    assert last[:7] == ("-d", "172.21.0.0/16", "!", "-i", "br", "-o", "br")


def test_an_empty_access_only_drops(tmp_path: Path) -> None:
    """`access: []` closes the network, and needs no exception from Docker."""
    demo = inventory(tmp_path, "[]")
    red = demo.networks["red"]
    verdicts = [rule[-1] for rule in access_rules.rules(demo, red, "h1", "br", single_l2=False)]
    assert verdicts == ["ACCEPT", "DROP"]  # answers, and all else
    assert list(methods.access_resources(demo, red, facts())) == []


@pytest.mark.parametrize(("docker", "tables"), [((28, 5), ["raw"]), ((26, 1), [])])
def test_docker_28_needs_an_exception_in_the_table_raw(
    tmp_path: Path, docker: tuple[int, ...], tables: list[str]
) -> None:
    """Only from Docker 28 on; the follower watches the jump to it."""
    demo = inventory(tmp_path, "[10.9.0.0/16]", "vxlan")
    resources = list(methods.access_resources(demo, demo.networks["red"], facts(docker=docker)))
    chains = [r for r in resources if isinstance(r, IptablesChain) and r.host == "h1"]
    assert [chain.table for chain in chains] == tables
    for chain in chains:
        assert chain.hook == "PREROUTING" and chain.rules[0][-1] == "ACCEPT"
        assert rules_to_follow(chain) == {f"{chain.chain} raw", f"{chain.chain} PREROUTING"}


def test_a_host_outside_of_the_network_gets_routes_by_its_hosts(tmp_path: Path) -> None:
    """With `hosts`, on one link only; a router between them is a warning."""
    demo = inventory(tmp_path, "[hosts]", "vxlan")
    red = demo.networks["red"]
    tables = [r for r in methods.access_resources(demo, red, facts()) if isinstance(r, Routes)]
    assert [(t.host, [str(row) for row in t.rows]) for t in tables] == [
        ("h3", ["172.21.0.0/24 via 10.0.0.11 dev eth1", "172.21.1.0/24 via 10.0.0.12 dev eth1"])
    ]
    behind = facts(router="10.0.0.1")
    resources = methods.access_resources(demo, red, behind)
    assert not any(isinstance(r, Routes) for r in resources)
    assert [p.host for p in methods.access_warnings(demo, red, behind)] == ["h3"]


def test_a_wireguard_host_sends_with_an_address_of_its_subnet(tmp_path: Path) -> None:
    """Its peers take no packet with the address of the LAN (AllowedIPs)."""
    demo = inventory(tmp_path, "[hosts]", "wireguard")
    red = demo.networks["red"]
    chains = [r for r in methods.access_resources(demo, red, facts()) if r.host == "h2"]
    (nat,) = (c for c in chains if isinstance(c, IptablesChain) and c.table == "nat")
    assert nat.rules[0][-2:] == ("--to-source", "172.21.1.1")
    # What a relay or a router passes on keeps its source.
    assert nat.rules[0][:3] == ("!", "-s", "172.21.0.0/16") and "LOCAL" in nat.rules[0]
    closed = inventory(tmp_path, "[10.9.0.0/16]", "wireguard")
    rest = methods.access_resources(closed, closed.networks["red"], facts())
    assert {r.table for r in rest if isinstance(r, IptablesChain)} == {"raw"}


def test_an_interface_that_no_host_has_is_a_warning(tmp_path: Path) -> None:
    """A misspelt name would open nothing, silently."""
    demo = inventory(tmp_path, "[tail0]")
    red, hosts = demo.networks["red"], facts()
    (problem,) = methods.access_warnings(demo, red, hosts)
    assert "tail0" in problem.message
    hosts["h2"] = replace(hosts["h2"], links={"tail0": Link("tail0", 1280, ())})
    assert list(methods.access_warnings(demo, red, hosts)) == []


@pytest.mark.parametrize(
    ("access", "method", "sources"),
    [
        ("[hosts]", "routes", {"h1", "h2", "h3"}),
        ("[]", "routes", set()),
        ("[10.0.0.12/32]", "routes", {"h2"}),
        ("[eth1]", "routes", {"h1", "h2"}),
        ("[]", "vxlan", {"h1", "h2"}),
        ("[]", "vxlan, mode: routed", {"h1", "h2"}),
        ("[]", "ovs-gre", {"h1", "h2"}),
        ("[]", "wireguard", set()),
        ("[10.0.0.0/24]", "wireguard", set()),
        ("[hosts]", "wireguard", {"h1", "h2", "h3"}),
    ],
)
def test_hosts_are_expected_to_reach_what_they_can(
    tmp_path: Path, access: str, method: str, sources: set[str]
) -> None:
    """By `access`, or by an address of the network that their packets have anyway."""
    demo = inventory(tmp_path, access, method)
    probes = access_probe.probes(demo, facts(), tuple(demo.hosts))
    assert {probe.source for probe in probes if probe.stranger is None} == sources


def test_a_stranger_is_nobody_that_may_come_in(tmp_path: Path) -> None:
    """Its address is in no allowed range, and its packets come by no allowed interface."""
    demo = inventory(tmp_path, "[192.0.2.0/25]")
    hosts = tuple(demo.hosts)
    strangers = [p for p in access_probe.probes(demo, facts(), hosts) if p.stranger]
    assert strangers == [
        AccessProbe("h2", demo.members["c1"], IPv4Address("198.51.100.77")),
        AccessProbe("h3", demo.members["c2"], IPv4Address("198.51.100.77")),
    ]
    assert access_probe.sniffed(demo) == ("from=198.51.100.77>172.21.0.0/16",)
    every = inventory(tmp_path, "[eth1]")
    assert not [p for p in access_probe.probes(every, facts(), hosts) if p.stranger]
    few = access_probe.probes(inventory(tmp_path, "[hosts]"), facts(), hosts, PairChoice(0))
    assert [(p.source, p.target.name) for p in few if not p.stranger] == [
        ("h2", "c1"),
        ("h3", "c2"),
    ]


def test_the_scripts_name_the_container_and_its_host(tmp_path: Path) -> None:
    """A host connects to our listener; the stranger's packets go to the host's MAC address."""
    demo = inventory(tmp_path, "[hosts]")
    known, address = facts(), IPv4Address("172.21.1.2")
    ends = {"c2": Endpoint("c2", "h2", "red", 7, address, 1500)}
    probes = access_probe.probes(demo, known, tuple(demo.hosts))
    opened = list(access_probe.openings(probes, ends, {"c2": Listener(4000, 9, ())}))
    assert {(o.by, o.target, o.address, o.port) for o in opened} == {
        ("h1", "c2", address, 4000), ("h3", "c2", address, 4000)
    }  # fmt: skip
    script = access_probe.script(probes, ends, demo, known["h3"])
    assert script.rstrip().endswith("eth1 10.0.0.12 192.0.2.77 172.21.1.2 &")
    assert access_probe.script(probes, ends, demo, known["h1"]) == ""


@pytest.mark.parametrize(
    ("frames", "skipped", "devices"),
    [
        ("in eth1", False, ()),
        ("in eth1 out br", False, ("br",)),
        ("", True, ()),
        ("out br", True, ("br",)),
    ],
)
def test_the_sniffer_tells_what_became_of_the_packets(
    frames: str, skipped: bool, devices: tuple[str, ...]
) -> None:
    """They must have come to the host, or the network between has dropped them."""
    words = frames.split()
    ends = "192.0.2.77 172.21.1.2"
    lines = [
        f"frame {device} {direction} plain 0 {ends} {ends} 3"
        for direction, device in zip(words[::2], words[1::2], strict=True)
    ]
    capture = wire.parse("\n".join([*lines, "lost 0", ""]))
    source, target = map(IPv4Address, ends.split())
    assert bool(access_probe.skip_reason(capture, source, target)) is skipped
    assert access_probe.passed_on(capture, source, target) == devices

"""What firewalls drop, judged by rules as booted hosts have printed them."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest

from provision.facts.firewall import Firewall
from provision.facts.firewalld import Firewalld, Zone, rich_rule
from provision.facts.nft_table import NftTable, parse
from provision.facts.packet_filter import Packet, PacketFilter
from provision.model.needs import Inbound, Transit

LAN = IPv4Network("10.0.0.0/24")
VXLAN = Inbound("udp", (4789,), LAN, "eth1")
ETCD = Inbound("tcp", (2379, 2380), LAN, "eth1")
GRE = Inbound("gre", (), LAN, "eth1")
ROUTED = Transit(IPv4Network("172.20.0.0/16"), IPv4Network("172.20.1.0/24"), "eth1", "br-blue")
UFW = """:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:ufw-user-input - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -j ufw-reject-input
-A FORWARD -j DOCKER-USER
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -j DROP
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
"""


@pytest.mark.parametrize(
    ("rule", "opened"),
    [
        ("-s 10.0.0.0/24 -p udp -m udp --dport 4789 -j ACCEPT", {VXLAN}),
        ("-s 10.0.0.0/25 -p udp -m udp --dport 4789 -j ACCEPT", set()),
        ("-p udp -m multiport --dports 53,4000:5000 -j ACCEPT", {VXLAN}),
        ("! -i eth1 -p udp -m udp --dport 4789 -j ACCEPT", set()),
        ("-i eth+ -p tcp -m multiport --dports 2379,2380 -j ACCEPT", {ETCD}),
        ("-p tcp -m tcp --dport 2379 -j ACCEPT", set()),
        ("-s 10.0.0.0/8 -p gre -j ACCEPT", {GRE}),
        ("-m set --match-set friends src -j ACCEPT", set()),
        ("-s 10.0.0.0/16 -j ACCEPT", {VXLAN, ETCD, GRE}),
    ],
)
def test_a_rule_of_ufw_opens_what_it_covers(rule: str, opened: set[Inbound]) -> None:
    """A range, a list of ports and an interface must cover all of the packets."""
    firewall = Firewall(table=f"{UFW}-A ufw-user-input {rule}\n", is_read=True)
    assert {need for need in (VXLAN, ETCD, GRE) if firewall.blocker(need) is None} == opened


def test_ufw_is_named_with_its_command() -> None:
    """Forwarded packets pass DOCKER-USER before the chains of ufw."""
    firewall = Firewall(table=UFW, is_read=True)
    blocker = firewall.blocker(ETCD)
    assert blocker and blocker.command == (
        "ufw allow proto tcp from 10.0.0.0/24 to any port 2379,2380"
    )
    assert firewall.blocker(ROUTED) is None and firewall.has_docker_user


# As Docker's backend iptables has left its rules for the bridge br-blue.
LEFT = """:FORWARD ACCEPT [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i br-blue -o br-blue -j DROP
-A DOCKER-BRIDGE -o br-blue -j DOCKER
-A DOCKER-CT -o br-blue -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-BRIDGE
"""


@pytest.mark.parametrize(
    ("rules", "direction"),
    [
        (UFW, "in"),
        (LEFT, "in"),
        (f"{LEFT}-A DOCKER-USER -s 172.20.0.0/16 -o br-blue -j ACCEPT", ""),
        (LEFT.replace("br-blue", "br-red"), ""),
        (":FORWARD ACCEPT [0:0]\n-A FORWARD -o eth1 -j REJECT", "out"),
        (":FORWARD ACCEPT [0:0]\n-A FORWARD -d 172.20.0.0/15 ! -o eth+ -j DROP", "in"),
        (":FORWARD ACCEPT [0:0]\n-A FORWARD -d 172.20.3.0/24 -j DROP", ""),
        (":FORWARD ACCEPT [0:0]\n-A FORWARD -m addrtype --dst-type LOCAL -j DROP", ""),
        ("", ""),
    ],
)
def test_iptables_also_judge_what_dockers_nftables_forward(rules: str, direction: str) -> None:
    """No chain of ours is in iptables then, and an accept of nftables does not skip them."""
    assert Firewall(table=rules, is_read=True).blocker(ROUTED) is None
    blocker = Firewall(table=rules, is_read=True, docker_nftables=True).blocker(ROUTED)
    commands = {
        "in": "-s 172.20.0.0/16 -d 172.20.1.0/24 -i eth1 -o br-blue",
        "out": "-s 172.20.1.0/24 -d 172.20.0.0/16 -i br-blue -o eth1",
    }
    if not direction:
        assert blocker is None
        return
    assert blocker and blocker.name == "iptables (chain FORWARD)" and not blocker.tool
    assert blocker.command == f"iptables -I FORWARD {commands[direction]} -j ACCEPT"


@pytest.mark.parametrize(
    ("before", "direction"),
    [
        ("-j DROP", "in"),
        ("-i eth1 -j REJECT --reject-with icmp-port-unreachable", "in"),
        ("-s 172.20.1.0/24 ! -o br-blue -j DROP", "out"),
        ("-j mine", "in"),
        ("-i docker0 -s 10.9.0.0/16 -j DROP", ""),
        ("-s 172.20.3.7/32 -j DROP", ""),
        ("-m set --match-set bad src -j DROP", ""),
        ("-m conntrack --ctstate INVALID -j DROP", ""),
        ("-i eth1 -j ACCEPT\n-A FORWARD -o eth1 -j ACCEPT\n-A FORWARD -j DROP", ""),
    ],
)
def test_a_drop_before_docker_user_is_named(before: str, direction: str) -> None:
    """With Docker's backend iptables; what comes after DOCKER-USER never sees our packets."""
    rules = f":FORWARD DROP [0:0]\n-A mine -i eth1 -j DROP\n-A FORWARD {before}\n"
    rules += "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DROP\n"
    blocker = Firewall(table=rules, is_read=True).blocker(ROUTED)
    assert (blocker is not None) == bool(direction)
    if blocker is not None:
        link = {"in": "-i eth1 -o br-blue", "out": "-i br-blue -o eth1"}[direction]
        assert blocker.name == "iptables (chain FORWARD)" and not blocker.tool
        assert blocker.packets == (ROUTED if direction == "in" else ROUTED.back)
        assert blocker.command.startswith("iptables -I FORWARD -s 172.20.")
        assert blocker.command.endswith(f"{link} -j ACCEPT")


@pytest.mark.parametrize(
    ("rule", "hides"),
    [
        ("-s 172.16.0.0/12 -j MASQUERADE", True),
        ("-o br-blue -j SNAT --to-source 10.0.0.1", True),
        ("-s 172.16.0.0/12 -o eth1 -j MASQUERADE", False),
        ("-s 172.20.1.5/32 -d 172.20.1.5/32 -p tcp -m tcp --dport 80 -j MASQUERADE", False),
        ("-s 172.20.0.0/16 -d 172.20.1.0/24 -j ACCEPT\n-A POSTROUTING -j MASQUERADE", False),
        ("-j KUBE-POSTROUTING", False),
        ("-m policy --dir out --pol ipsec -j ACCEPT\n-A POSTROUTING -j MASQUERADE", False),
        ("-m policy --dir out --pol ipsec -j SNAT --to 10.0.0.1\n-A POSTROUTING -j LOG", False),
    ],
)
def test_a_rule_that_hides_the_senders_is_named(rule: str, *, hides: bool) -> None:
    """Our own chain exempts only what leaves the host's containers."""
    own = "-A POSTROUTING -j PROV-x\n-A PROV-x -s 172.20.1.0/24 -d 172.20.0.0/16 -j ACCEPT\n"
    # kube-proxy translates what has its mark alone.
    own += "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n"
    own += "-A KUBE-POSTROUTING -j MASQUERADE\n"
    nat = f":POSTROUTING ACCEPT [0:0]\n{own}-A POSTROUTING {rule}\n"
    blocker = Firewall(nat=nat, is_read=True).blocker(ROUTED)
    assert (blocker is not None) is hides
    if blocker is not None:
        assert (blocker.name, blocker.verb) == (
            "iptables (chain POSTROUTING)",
            "hides the senders of",
        )
        match = "-s 172.20.0.0/16 -d 172.20.1.0/24"
        assert blocker.command == f"iptables -t nat -I POSTROUTING {match} -j ACCEPT"
        assert Firewall(nat=nat, is_read=True).blocker(VXLAN) is None


def test_no_target_is_known_of_packets_to_the_host() -> None:
    """A rule for one, or for all but one, counts as a rule for other packets."""
    text = (
        ":INPUT DROP [0:0]\n-A INPUT -d 10.0.0.1/32 -j ACCEPT\n-A INPUT ! -d 10.0.0.9/32 -j ACCEPT"
    )
    packet = Packet("udp", (4789,), LAN, "eth1")
    assert PacketFilter.parse(text).verdict("INPUT", packet) == "DROP"


def test_a_return_and_a_goto_end_a_chain() -> None:
    """After a goto, the calling chain goes on where its own caller does."""
    text = ":INPUT DROP [0:0]\n-A INPUT -g a\n-A INPUT -j ACCEPT\n-A a -p tcp -j RETURN\n"
    rules = PacketFilter.parse(text + "-A a -p udp -j ACCEPT\n")
    assert rules.verdict("INPUT", Packet("udp", (4789,), LAN, "eth1")) == "ACCEPT"
    assert rules.verdict("INPUT", Packet("tcp", (22,), LAN, "eth1")) == "DROP"


def dropping_table(*rules: list[object], hook: str = "input") -> NftTable:
    """A table as `nft -j list table` prints it, with a base chain of policy drop."""
    base = {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter",
            "hook": hook, "prio": 0, "policy": "drop"}  # fmt: skip
    entries: list[object] = [{"table": {"family": "inet", "name": "filter"}}, {"chain": base}]
    entries += [{"rule": {"chain": "input", "expr": expressions}} for expressions in rules]
    table = parse(json.dumps({"nftables": entries}))
    assert table is not None
    return table


ESTABLISHED: list[object] = [
    {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
    {"accept": None},
]


def _port(right: object) -> dict[str, object]:
    left = {"payload": {"protocol": "udp", "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": right}}


def _source(right: object) -> dict[str, object]:
    left = {"payload": {"protocol": "ip", "field": "saddr"}}
    return {"match": {"op": "==", "left": left, "right": right}}


@pytest.mark.parametrize(
    ("matches", "opens"),
    [
        ([_port(4789)], True),
        ([_port({"set": [53, {"range": [4000, 5000]}]})], True),
        ([_port(53)], False),
        ([_source({"prefix": {"addr": "10.0.0.0", "len": 8}}), _port(4789)], True),
        ([_source("10.0.0.5"), _port(4789)], False),
        ([_source("@friends"), _port(4789)], False),
    ],
)
def test_a_rule_of_nftables_opens_what_it_covers(matches: list[object], opens: bool) -> None:
    """A rule for established connections opens nothing."""
    table = dropping_table(ESTABLISHED, [*matches, {"accept": None}])
    firewall = Firewall(nft_tables=(table,))
    blocker = firewall.blocker(VXLAN)
    assert (blocker is None) is opens
    if blocker is not None:
        assert blocker.name == "nftables (chain inet filter input)" and not blocker.tool
    assert Firewall(nft_tables=(dropping_table(ESTABLISHED),)).blocker(VXLAN) is not None


def test_a_chain_of_nftables_for_forwarded_packets_is_named() -> None:
    """Docker's and our accepts in iptables do not overrule its drop."""
    blocker = Firewall(nft_tables=(dropping_table(hook="forward"),)).blocker(ROUTED)
    assert blocker and "iifname eth1 oifname br-blue" in blocker.command
    assert Firewall(nft_tables=(dropping_table(hook="forward"),)).blocker(VXLAN) is None


def _name(key: str, name: str) -> dict[str, object]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": name}}


@pytest.mark.parametrize(
    ("rules", "match"),
    [
        ([[_name("iifname", "eth1")]], "iifname br-blue oifname eth1 ip saddr 172.20.1.0/24"),
        ([[_name("iifname", "br-*")]], "iifname eth1 oifname br-blue ip saddr 172.20.0.0/16"),
        ([[_name("iifname", "eth1")], [_name("oifname", "eth1")]], ""),
        ([[_source({"prefix": {"addr": "172.16.0.0", "len": 12}})]], ""),
    ],
)
def test_nftables_must_let_packets_of_both_directions_pass(
    rules: list[list[object]], match: str
) -> None:
    """A rule for what comes in lets the host's containers answer, but not begin."""
    accepted: list[list[object]] = [[*rule, {"accept": None}] for rule in rules]
    table = dropping_table(ESTABLISHED, *accepted, hook="forward")
    blocker = Firewall(nft_tables=(table,)).blocker(ROUTED)
    assert (blocker is not None) == bool(match)
    if blocker is not None:
        assert blocker.command == f"nft insert rule inet filter input {match} accept"
        source, nic = match.rpartition(" ")[2], match.split(" ")[1]
        assert str(blocker.packets).startswith(f"packets from {source} on {nic} to ")


def _firewalld(**zones: Zone) -> Firewall:
    return Firewall(firewalld=Firewalld("public", zones, frozenset()))


def _zone(
    interfaces: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
    target: str = "default",
    ports: tuple[tuple[str, int, int], ...] = (),
    rules: tuple[str, ...] = (),
) -> Zone:
    return Zone(interfaces, sources, target, ports, (), rules)


DOCKER = _zone(("docker0", "br-blue"), target="ACCEPT")


def test_firewalld_is_judged_by_the_zone_of_the_interface_or_source() -> None:
    """Sources come before interfaces; the default zone has all others."""
    assert _firewalld(public=_zone(ports=(("udp", 4789, 4789),))).blocker(VXLAN) is None
    assert _firewalld(public=_zone(rules=(rich_rule(VXLAN, 4789),))).blocker(VXLAN) is None
    work = _zone(("eth1",), target="ACCEPT")
    assert _firewalld(public=_zone(), work=work).blocker(VXLAN) is None
    drop = _zone(sources=("10.0.0.0/16",), target="DROP")
    blocker = _firewalld(drop=drop, work=work).blocker(VXLAN)
    assert blocker and "--zone drop" in blocker.command
    only_one = _zone(ports=(("tcp", 2379, 2379),))
    assert _firewalld(public=only_one).blocker(ETCD) is not None


def test_firewalld_forwards_to_docker_from_sources_of_its_zone() -> None:
    """Without the bridge in the zone, only Docker can tell firewalld of it."""
    blocker = _firewalld(public=_zone(), docker=DOCKER).blocker(ROUTED)
    assert blocker and "--zone docker --add-source 172.20.0.0/16" in blocker.command
    with_source = _zone(DOCKER.interfaces, ("172.20.0.0/16",), "ACCEPT")
    assert _firewalld(public=_zone(), docker=with_source).blocker(ROUTED) is None
    started_later = _firewalld(public=_zone(), docker=_zone(target="ACCEPT")).blocker(ROUTED)
    assert started_later and started_later.command == "systemctl restart docker"

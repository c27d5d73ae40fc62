"""Rules of DOCKER-USER as tables of nftables, for Docker's backend nftables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.engine import desired, nft_tables
from provision.facts import firewall
from provision.facts.firewall import Firewall
from provision.facts.lines import KeyedLines
from provision.inventory.load import load
from provision.model.access import Access
from provision.resources.base import Ref
from provision.resources.kinds.iptables_chain import IptablesChain, in_docker_user
from provision.resources.kinds.nft_table import OwnNftTable
from tests.cases import test_cases

ROOT = Path(__file__).parents[2]
DOCKER = {"docker": {"h1": "29.99.0", "h2": "29.99.0", "h3": "28.5.2"}}
MARK = "meta mark set meta mark | 0x00002000"


@pytest.mark.parametrize(
    ("accepted", "statement"),
    [
        ("0x2000/0x2000", MARK),
        ("1", "meta mark set 0x00000001"),
        ("1/3", "meta mark set meta mark & 0xfffffffd | 0x00000001"),
        ("0", ""),
        ("2/1", ""),
        ("010", ""),
        ("1/010", ""),
        ("0x", ""),
        ("\N{ARABIC-INDIC DIGIT ONE}", ""),
        ("-1", ""),
        ("", ""),
    ],
)
def test_the_mark_is_set_as_nft_prints_it(accepted: str, statement: str) -> None:
    """Other bits of the packet's mark stay; what every packet or none has is refused."""
    assert nft_tables.mark_statement(accepted) == statement


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            '-s 172.20.0.0/16 -d 172.20.1.0/24 -i eth1 -o br-x -m comment --comment "p" -j ACCEPT',
            'ip saddr 172.20.0.0/16 ip daddr 172.20.1.0/24 iifname "eth1" oifname "br-x" '
            f'{MARK} accept comment "p"',
        ),
        (
            "-d 10.0.0.1/32 -p tcp -m tcp --dport 179 -j DROP",
            "ip daddr 10.0.0.1 tcp dport 179 drop",
        ),
        (
            "-d 10.0.0.0/8 ! -i br-x -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
            'ip daddr 10.0.0.0/8 iifname != "br-x" ct state != { established, related } '
            "ct status ! dnat drop",
        ),
        (
            "-i br-x -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            f'meta nfproto ipv4 iifname "br-x" ct state established,related {MARK} accept',
        ),
        (
            "-p udp -m udp --dport 53 -m conntrack --ctstate DNAT -j RETURN",
            "meta nfproto ipv4 udp dport 53 ct status dnat return",
        ),
        (
            "-s 10.0.0.0/8 -m conntrack ! --ctstate ESTABLISHED -j DROP",
            "ip saddr 10.0.0.0/8 ct state != established drop",
        ),
    ],
)
def test_a_rule_is_translated(arguments: str, text: str) -> None:
    """Into the form in which nft prints it."""
    words = arguments.replace('"', "").split()
    assert nft_tables.rule(words, MARK) == text


@pytest.mark.parametrize(
    "arguments",
    [
        "--limit 5/s -j ACCEPT",
        "! -s 10.0.0.0/8 -j DROP",
        "! -d 10.0.0.0/8 -j DROP",
        "! -p tcp --dport 1 -j DROP",
        "-p tcp ! --dport 1 -j DROP",
        "-p icmp -j ACCEPT",
        "-p tcp --dport 1:9 -j ACCEPT",
        "-i eth+ -j ACCEPT",
        "-m conntrack --ctstate RELATED,DNAT -j ACCEPT",
        "-m conntrack --ctstate NEW -j ACCEPT",
        "-m conntrack --ctstate DNAT -m conntrack ! --ctstate RELATED -j ACCEPT",
        "-s 10.0.0.0/8 -j REJECT",
        "-s 10.0.0.0/8",
        "-s 10.0.0.0/8 -j",
    ],
)
def test_an_argument_that_is_not_translated_is_an_error(arguments: str) -> None:
    """A rule must not match more packets than it says."""
    with pytest.raises(ValueError, match=r".+"):
        nft_tables.rule(arguments.split(), MARK)


@pytest.mark.parametrize(
    "example", ["routes", "access", "bgp", "flannel-vxlan", "wireguard", "pipework"]
)
def test_every_method_has_tables_on_such_hosts_alone(example: str) -> None:
    """Each chain of DOCKER-USER becomes one table with as many rules; the other chains stay."""
    inventory = load(ROOT / f"inventories/{example}.yml")
    if example == "access":
        # Other senders than hosts are refused on such hosts (docker_settings.network_problems).
        networks = {
            name: replace(network, access=Access(hosts=True))
            for name, network in inventory.networks.items()
        }
        inventory = replace(inventory, networks=networks)
    facts = test_cases.facts(inventory, DOCKER)
    before = desired.wanted(inventory, facts)
    backend = Firewall(docker_mark="0x2000/0x2000")
    facts["h1"] = replace(facts["h1"], nftables_backend=True, firewall=backend)
    after = desired.wanted(inventory, facts)
    chains = {
        ref: resource
        for ref, resource in before.items()
        if isinstance(resource, IptablesChain) and in_docker_user(resource) and ref.host == "h1"
    }
    assert chains and not chains.keys() & after.keys()
    for chain in chains.values():
        table = after[Ref("h1", "nft_table", chain.chain)]
        assert isinstance(table, OwnNftTable) and len(table.rules) == len(chain.rules)
        assert all("ACCEPT" not in line and "--" not in line for line in table.rules)
    assert [ref.host for ref in after if ref.kind == "nft_table"] == ["h1"] * len(chains)
    follower = str(after[Ref("h1", "file", f"/etc/provision/{inventory.name}/follow.sh")])
    assert "nft list tables inet" in follower and "DOCKER-USER FORWARD" not in follower


def test_the_mark_of_docker_is_read() -> None:
    """As look/firewall.sh prints it."""
    assert firewall.parse(KeyedLines("docker_mark 0x2000/0x2000")).docker_mark == "0x2000/0x2000"

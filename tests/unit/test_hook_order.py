"""The rule of others before our jump, and the packets that a rule surely takes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from provision.resources.base import Origin
from provision.resources.kinds.iptables_chain import IptablesChain
from provision.resources.lib.rule_cover import covers
from provision.resources.script import commands

CAPTURE = Path("tests/probes/iptables_chain/routes-trixie.txt")
"""The network demo/blue, 172.20.0.0/16, of which this host has 172.20.0.0/24 on br-blue-v242wt."""
CHAIN = "PROV-demo-blue-v242wt"
SAVED = {"filter": "-A DOCKER-USER -m", "nat": "-A POSTROUTING -m"}
"""How the jump begins in each table; a rule of others goes before it."""


def chains(table: str, *rules: str) -> dict[str, IptablesChain]:
    """The chains of ours by table, with rules of others before the jump of one table."""
    hook = "DOCKER-USER" if table == "filter" else "POSTROUTING"
    lines = "".join(f"-A {hook} {rule}\n" for rule in rules)
    text = CAPTURE.read_text()
    assert text.count(SAVED[table]) == 1
    text = text.replace(SAVED[table], lines + SAVED[table])
    found = [entry.resource for entry in IptablesChain.parse(text, Origin("h1", "demo"))]
    parsed = [resource for resource in found if isinstance(resource, IptablesChain)]
    return {chain.table: chain for chain in parsed if chain.chain == CHAIN}


DROPPED = [
    "-j DROP",
    "-s 172.16.0.0/12 -j REJECT --reject-with icmp-port-unreachable",
    "-i eth1 -j DROP",
    "! -s 192.0.2.2/32 -i eth1 -j DROP",
    "-m conntrack --ctstate NEW -j DROP",
    "-d 172.20.0.0/24 ! -i br-blue-v242wt -j DROP",
    "-m comment --comment mine -j RETURN",
]
PASSED = [
    "-j ACCEPT",
    "-s 10.9.0.0/16 -i docker0 -j DROP",
    "-i docker0 -j DROP",
    "! -i eth+ -o eth0 -j DROP",
    "-s 172.20.3.7/32 -j DROP",
    "-p tcp -m tcp --dport 22 -j DROP",
    "-m conntrack --ctstate INVALID -j DROP",
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-m set --match-set bad src -j DROP",
    "-j ufw-user-forward",
    "-j PROV-other-red-aaaaaa",
    '-m comment --comment "provision:other/red" -j DROP',
    "-j LOG --log-prefix x",
]
TRANSLATED = [
    "-s 172.16.0.0/12 -j MASQUERADE",
    "-s 172.20.0.0/24 -j SNAT --to-source 10.0.0.1",
    "-j MASQUERADE",
    "-o eth1 -j MASQUERADE",
    "-s 172.20.0.0/24 ! -o br-blue-v242wt -j MASQUERADE",
    "-s 172.20.0.0/16 -j ACCEPT",
]
UNTRANSLATED = [
    "-o eth0 -j MASQUERADE",
    "-s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    "-s 172.20.0.5/32 -d 172.20.0.5/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
    "-s 172.20.0.0/24 -d 172.20.0.0/16 -j ACCEPT",
    "-s 172.20.0.0/24 -d 172.20.0.0/16 -j RETURN",
    "-j DOCKER_POSTROUTING",
]


@pytest.mark.parametrize(
    ("table", "rule", "is_behind"),
    [
        *(("filter", rule, True) for rule in DROPPED),
        *(("filter", rule, False) for rule in PASSED),
        *(("nat", rule, True) for rule in TRANSLATED),
        *(("nat", rule, False) for rule in UNTRANSLATED),
    ],
)
def test_a_rule_of_others_before_the_jump_is_drift(
    table: str, rule: str, *, is_behind: bool
) -> None:
    """Only one that surely takes all packets of a rule of ours, and treats them otherwise."""
    wanted, found = chains(table)[table], chains(table, rule)
    other = "nat" if table == "filter" else "filter"
    assert found[other] == chains(table)[other]
    assert (found[table] == wanted) is not is_behind
    assert shlex.split(found[table].behind) == (shlex.split(rule) if is_behind else [])


def test_the_jump_moves_in_one_transaction_and_back() -> None:
    """The steps delete the old jump and put it on top; a rollback gives its position back."""
    found = chains("filter", "-i docker0 -j ACCEPT", "-j DROP")["filter"]
    assert (found.behind, found.position) == ("-j DROP", 3)
    wanted = replace(found, behind="")
    jump = "-m comment --comment provision:demo/blue -j PROV-demo-blue-v242wt"
    moved = f"*filter\n-D DOCKER-USER {jump}\n-I DOCKER-USER 1 {jump}\nCOMMIT\n"
    text = commands(wanted.update(found))
    assert text.rindex(moved) > text.index("iptables-restore")
    back = moved.replace("-I DOCKER-USER 1 ", "-I DOCKER-USER 3 ")
    assert back in commands(wanted.undo(found, ours=True))
    assert "-D DOCKER-USER" not in commands(wanted.update(replace(wanted, rules=())))
    assert "-D DOCKER-USER" not in commands(wanted.create())


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("! -s 10.0.0.0/24 -j DROP", "! -s 10.0.0.0/8 -j ACCEPT", True),
        ("! -s 10.0.0.0/8 -j DROP", "! -s 10.0.0.0/24 -j ACCEPT", False),
        ("-s 10.0.0.0/8 -j DROP", "! -s 10.0.0.0/24 -j ACCEPT", False),
        ("-i eth1 -j DROP", "! -i eth0 -j ACCEPT", False),
        ("! -i eth0 -j DROP", "! -i eth0 -j ACCEPT", True),
        ("! -i br+ -j DROP", "-i eth1 -j ACCEPT", True),
        ("-i eth1 -j DROP", "-i eth+ -j ACCEPT", False),
        ("-m conntrack --ctstate NEW -j DROP", "-m conntrack ! --ctstate DNAT -j ACCEPT", True),
        (
            "-m conntrack --ctstate NEW -j DROP",
            "-m conntrack --ctstate ESTABLISHED -j ACCEPT",
            False,
        ),
        ("-s bad -j DROP", "-s 10.0.0.0/8 -j ACCEPT", False),
        ("-m mark --mark 0x1 -j DROP", "-m mark --mark 0x1 -j ACCEPT", True),
    ],
)
def test_a_rule_covers_another(wide: str, narrow: str, *, covered: bool) -> None:
    """Each option of the wide rule must follow from one of the narrow rule."""
    assert covers(wide.split(), narrow.split()) is covered


def test_a_chain_that_only_others_jump_to_is_not_hooked() -> None:
    """As after `iptables -F DOCKER-USER`, while somebody's own jump to our chain stands."""
    text = CAPTURE.read_text()
    lines = [
        f"-A FORWARD -j {CHAIN}" if line.startswith(SAVED["filter"]) and CHAIN in line else line
        for line in text.split("\n")
    ]
    assert lines != text.split("\n")
    found = [each.resource for each in IptablesChain.parse("\n".join(lines), Origin("h1", "demo"))]
    (chain,) = (
        each
        for each in found
        if isinstance(each, IptablesChain) and (each.table, each.chain) == ("filter", CHAIN)
    )
    assert not chain.hooked

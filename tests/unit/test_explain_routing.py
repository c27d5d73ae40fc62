"""Rules, routes and their owners, as `ip -j -N` and the trace of netfilter print them."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from provision.checks.explain.evidence import HostEvidence, TraceStep
from provision.checks.explain.tables import best_route, owner_of, route_text, rule_text
from provision.checks.explain.verdicts import is_native
from provision.checks.explain.verdicts import owner_of as owner_of_verdict
from provision.facts.policy import takes

SOURCE, TARGET = IPv4Address("172.20.0.2"), IPv4Address("172.20.1.2")
TAILSCALE = {"priority": 5250, "src": "all", "fwmark": "0x80000", "fwmask": "0xff0000"}
WG_QUICK = {"priority": 90, "not": None, "src": "all", "fwmark": "0xca6c", "table": "51820"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (TAILSCALE | {"action": "unreachable"}, False),
        (WG_QUICK, True),
        ({"src": "all", "iif": "eth1", "table": "100"}, False),
        ({"src": "all", "iif": "br-blue", "table": "100"}, True),
        ({"src": "172.20.0.0", "srclen": 16, "table": "100"}, True),
        ({"src": "10.9.0.0", "srclen": 16, "table": "100"}, False),
        ({"src": "all", "dport_start": 1, "dport_end": 9, "table": "100"}, False),
        ({"src": "all", "ipproto": "tcp", "table": "100"}, False),
    ],
)
def test_only_rules_for_ordinary_packets_are_blamed(
    rule: dict[str, Any], *, expected: bool
) -> None:
    """A rule with a mark takes no packet without it: deleting it would damage another program."""
    rule = {"priority": 1} | rule
    assert takes(rule, SOURCE, TARGET, "br-blue") is expected


def test_texts_are_those_of_ip() -> None:
    """A reader compares them with `ip rule` and `ip route`, or pastes them behind `del`."""
    assert rule_text(WG_QUICK) == "90: not from all fwmark 0xca6c lookup 51820"
    text = "5250: from all fwmark 0x80000/0xff0000 unreachable"
    assert rule_text(TAILSCALE | {"action": "unreachable"}) == text
    route = {"dst": "172.20.1.0/24", "dev": "eth2", "table": "52"}
    assert route_text(route) == "172.20.1.0/24 dev eth2 table 52"
    assert best_route([route], TARGET) == route


def test_routes_of_daemons_are_no_persons() -> None:
    """FRR or the DHCP client makes a deleted route again."""
    protocols = {"240": "provision", "16": "the DHCP client", "186": "a routing daemon"}
    assert {key: owner_of({"protocol": key}) for key in protocols} == protocols
    assert owner_of({"protocol": "4"}) == owner_of(None) == "a person"


@pytest.mark.parametrize(
    ("family", "table", "chain", "owner"),
    [
        ("ip", "docker-bridges", "filter-forward-in__docker0", "Docker"),
        ("ip", "docker-bridges", "raw-PREROUTING", "Docker"),
        ("inet", "PROV-demo-blue-f-1a2b3c4d", "forward", "provision"),
        ("inet", "mine", "forward", "a person"),
    ],
)
def test_chains_of_dockers_backend_nftables_are_dockers(
    family: str, table: str, chain: str, owner: str
) -> None:
    """Deleting a rule there would last until Docker starts again."""
    step = TraceStep({}, table, chain, "0x7", "DROP", "", family)
    assert is_native(step)
    assert owner_of_verdict(HostEvidence(), step) == owner

"""Rules of `ip rule` that take a network's packets, from lines that iproute2 6.1 printed."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from provision.facts import policy
from provision.facts.lines import KeyedLines

RANGE = IPv4Network("172.20.0.0/16")
OWN, PEER = IPv4Network("172.20.0.0/24"), IPv4Network("172.20.1.0/24")
RULES = {
    "iif": '{"priority":70,"src":"all","iif":"eth1","action":"6"}',
    "suppressed": '{"priority":80,"src":"all","table":"254","suppress_prefixlen":0}',
    "long": '{"priority":82,"src":"all","table":"254","suppress_prefixlen":24}',
    "bypass": '{"priority":84,"src":"all","dst":"172.16.0.0","dstlen":12,"table":"254"}',
    "half": '{"priority":85,"src":"all","dst":"172.20.1.0","dstlen":25,"table":"254"}',
    "not ours": '{"priority":87,"not":null,"src":"172.20.0.0","srclen":16,"table":"254"}',
    "not half": '{"priority":88,"not":null,"src":"172.20.0.128","srclen":25,"table":"254"}',
    "not others": '{"priority":89,"not":null,"src":"10.9.0.0","srclen":16,"table":"254"}',
    "not vpn": '{"priority":89,"not":null,"src":"all","fwmark":"0xca6c","table":"254"}',
    "marked main": '{"priority":86,"src":"all","fwmark":"0x1","table":"254"}',
    "wireguard": '{"priority":90,"not":null,"src":"all","fwmark":"0xca6c","table":"51820"}',
    "source": '{"priority":100,"src":"172.20.0.0","srclen":16,"table":"100"}',
    "marked": '{"priority":110,"src":"all","fwmark":"0x1","action":"7"}',
    "empty": '{"priority":120,"src":"all","table":"52"}',
    "copy": '{"priority":130,"src":"all","table":"53"}',
    "target": '{"priority":140,"src":"all","dst":"172.20.1.7","action":"8"}',
    "ports": '{"priority":145,"src":"all","dport_start":1000,"dport_end":2000,"table":"100"}',
    "class": '{"priority":146,"src":"all","dscp":"EF","table":"100"}',
    "multipath": '{"priority":160,"src":"all","table":"54"}',
    "default": '{"priority":170,"src":"all","table":"55"}',
    "ours": '{"priority":150,"not":null,"src":"172.20.0.0","srclen":16,"table":"100"}',
}
LAST = '{"priority":32766,"src":"all","table":"254"},{"priority":32767,"src":"all","table":"253"}'
ROUTES = """[
{"dst":"default","gateway":"10.0.0.1","dev":"eth0"},
{"dst":"172.20.1.0/24","gateway":"10.78.0.12","dev":"eth1","protocol":"240"},
{"dst":"172.20.0.0/24","dev":"br-blue","protocol":"2"},
{"dst":"default","gateway":"10.78.0.13","dev":"eth1","table":"100"},
{"dst":"default","dev":"wg0","table":"51820"},
{"dst":"172.20.1.0/24","gateway":"10.78.0.12","dev":"eth1","table":"53"},
{"dst":"default","gateway":"fe80::1","dev":"eth0","table":"52"},
{"dst":"default","table":"54","nexthops":[{"gateway":"10.78.0.13","dev":"eth1"},
{"gateway":"10.79.0.13","dev":"eth2"}]},
{"type":"9","dst":"default","dev":"lo","table":"52"}]"""


@pytest.mark.parametrize(
    ("rules", "diverted"),
    [
        ((), None),
        (("source",), (100, "eth1 10.78.0.13")),
        (("wireguard",), (90, "wg0")),
        (("suppressed", "wireguard", "source"), None),
        (("iif", "marked", "empty", "copy", "ours"), None),
        (("copy", "source"), None),
        (("ports", "class"), None),
        (("multipath",), (160, "eth1 10.78.0.13, eth2 10.79.0.13")),
        (("target",), (140, "prohibit")),
    ],
)
def test_only_rules_that_lead_elsewhere_count(
    rules: tuple[str, ...], diverted: tuple[int, str] | None
) -> None:
    """Marks, empty tables, other interfaces and copies of the main table's routes do not."""
    local = '{"priority":0,"src":"all","table":"255"}'
    entries = ",".join([local, *(RULES[rule] for rule in rules), LAST])
    text = f"every_route {ROUTES}".replace("\n", "") + f"\nrules [{entries}]"
    found = policy.parse(KeyedLines(text))
    assert found.diversion(OWN, PEER, "br-blue", within=RANGE) == diverted


@pytest.mark.parametrize(
    ("main", "diverted"),
    [
        ("", (170, "eth0 10.0.0.1")),
        ('{"dst":"172.16.0.0/12","gateway":"10.0.0.1","dev":"eth0"},', (170, "eth0 10.0.0.1")),
        ('{"dst":"172.20.0.0/16","gateway":"10.0.0.1","dev":"eth0"},', None),
    ],
)
def test_a_copy_of_the_default_route_takes_packets_before_the_first_apply(
    main: str, diverted: tuple[int, str] | None
) -> None:
    """The routes of the network will be in the main table, and the rule comes before it."""
    default = '{"dst":"default","gateway":"10.0.0.1","dev":"eth0"}'
    copy = default.replace("}", ',"table":"55"}')
    text = f"every_route [{main}{default},{copy}]\nrules [{RULES['default']},{LAST}]"
    found = policy.parse(KeyedLines(text))
    assert found.diversion(OWN, PEER, "br-blue", within=RANGE) == diverted


@pytest.mark.parametrize(
    ("rules", "diverted"),
    [
        (("suppressed", "wireguard"), None),
        (("long", "wireguard"), (90, "wg0")),
        (("bypass", "wireguard"), None),
        (("half", "wireguard"), (90, "wg0")),
        (("wireguard", "bypass"), (90, "wg0")),
        (("marked main", "wireguard"), (90, "wg0")),
        (("not ours", "wireguard"), (90, "wg0")),
        (("not half", "wireguard"), (90, "wg0")),
        (("not others", "wireguard"), None),
        (("not vpn", "wireguard"), None),
    ],
)
def test_a_rule_for_the_main_table_keeps_what_a_vpn_would_take(
    rules: tuple[str, ...], diverted: tuple[int, str] | None
) -> None:
    """Also before the first apply, when the routes of the network are not in it: as of wg-quick."""
    default = '{"dst":"default","gateway":"10.0.0.1","dev":"eth0"}'
    vpn = '{"dst":"default","dev":"wg0","table":"51820"}'
    entries = ",".join([*(RULES[rule] for rule in rules), LAST])
    found = policy.parse(KeyedLines(f"every_route [{default},{vpn}]\nrules [{entries}]"))
    assert found.diversion(OWN, PEER, "br-blue", within=RANGE) == diverted


def test_incoming_packets_have_another_interface() -> None:
    """A rule for what comes in on the NIC takes the packets of peers."""
    text = f"every_route {ROUTES}".replace("\n", "") + f"\nrules [{RULES['iif']},{LAST}]"
    found = policy.parse(KeyedLines(text))
    assert found.diversion(PEER, OWN, "eth1", within=RANGE) == (70, "blackhole")


def test_a_host_without_rules_diverts_nothing() -> None:
    """A kernel without CONFIG_IP_MULTIPLE_TABLES prints no line of rules."""
    found = policy.parse(KeyedLines("every_route []"))
    assert found.diversion(OWN, PEER, "br-blue", within=RANGE) is None

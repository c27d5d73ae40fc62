"""The listing of native nft tables, as nft 1.1.3 printed it on a booted host."""

from __future__ import annotations

from provision.checks.explain.nft_rules import NftRule, rules

LISTING = """\
table inet filter { # handle 3
\tset known { # handle 4
\t\ttype ipv4_addr
\t\telements = { 192.0.2.1, 192.0.2.7 }
\t}

\tchain input { # handle 1
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept # handle 5
\t\tip saddr @known jump others comment "drop" # handle 6
\t}

\tchain others { # handle 2
\t\ticmp type echo-request drop # handle 7
\t}
}
table netdev mine { # handle 4
\tchain ing { # handle 1
\t\ttype filter hook ingress devices = { "eth1", "eth2" } priority -500; policy accept;
\t\tip saddr 172.20.0.2 drop # handle 5
\t}

\tchain egr { # handle 2
\t\ttype filter hook egress device "eth1" priority filter; policy accept;
\t}
}
table bridge mine { # handle 5
\tchain pre { # handle 1
\t\ttype filter hook prerouting priority dstnat; policy accept;
\t\tether saddr 02:00:00:00:00:01 counter packets 4 bytes 336 drop # handle 5
\t}
}
"""


def test_the_rules_of_a_listing() -> None:
    """Each rule has its table, chain and hook: tables have rules with the same handle."""
    listed = list(rules(LISTING.splitlines()))
    assert listed[:2] == [
        NftRule("inet", "filter", "input", "input", (), 0, "policy drop"),
        NftRule("inet", "filter", "input", "input", (), 5, "ct state established,related accept"),
    ]
    assert [(rule.place, rule.hook, rule.devices) for rule in listed if rule.handle == 5] == [
        (("inet", "filter", "input"), "input", ()),
        (("netdev", "mine", "ing"), "ingress", ("eth1", "eth2")),
        (("bridge", "mine", "pre"), "prerouting", ()),
    ]
    assert [rule.text for rule in listed if not rule.hook] == ["icmp type echo-request drop"]
    assert not list(rules(["table ip6 empty { # handle 9", "}"]))

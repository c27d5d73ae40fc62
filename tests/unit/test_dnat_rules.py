"""Docker's rules for published ports, as iptables and nft print them."""

from __future__ import annotations

import pytest

from provision.facts import topology_probe
from provision.facts.topology import DnatRule

NFT = (
    'iifname != "docker0" udp dport 8053 counter packets 3 bytes 99 dnat to 172.17.0.2:53 '
    'comment "DNAT"',
    'iifname != "br-blue-5x57ni" ip daddr 127.0.0.1 tcp dport 9090 counter packets 0 bytes 0 '
    'dnat to 172.20.0.2:90 comment "DNAT"',
    "tcp dport 8080 counter packets 1 bytes 60 dnat to 172.17.0.2:80",
    'iifname != "docker0" tcp dport 8080 counter packets 0 bytes 0 masquerade',
)
"""Of Docker 29; the third without a userland proxy."""


def rules(pattern_name: str, *lines: str) -> list[tuple[str | None, str, int, str, int, int]]:
    """The fields of the rules that are read."""
    pattern = getattr(topology_probe, pattern_name)
    found: list[DnatRule] = list(topology_probe._dnat_rules(pattern, lines))
    return [
        (str(r.ip) if r.ip else None, r.protocol, r.port, str(r.to), r.target, r.packets)
        for r in found
    ]


def test_rules_of_nftables_are_read() -> None:
    """Any address, one address, and without an interface."""
    assert rules("_NFT_RULE", *NFT) == [
        (None, "udp", 8053, "172.17.0.2", 53, 3),
        ("127.0.0.1", "tcp", 9090, "172.20.0.2", 90, 0),
        (None, "tcp", 8080, "172.17.0.2", 80, 1),
    ]


@pytest.mark.parametrize("interface", ["! -i docker0 ", ""])
def test_rules_of_iptables_are_read(interface: str) -> None:
    """With its counters."""
    line = (
        f"-A DOCKER {interface}-p tcp -m tcp --dport 8080 -c 5 300"
        " -j DNAT --to-destination 172.17.0.2:80"
    )
    assert rules("_RULE", line) == [(None, "tcp", 8080, "172.17.0.2", 80, 5)]

"""The routes to peers of a snapshot are those of the kernel, with a question to it or without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from provision.facts import gather
from provision.facts.peer_routes import Addresses, by_kernel
from provision.transport.base import Output
from tests.netns.test_kinds import HOST, NAME, Namespace, namespace

pytestmark = pytest.mark.netns
__all__ = ["namespace"]

PEERS = ("192.0.2.1", "192.0.2.9", "192.0.2.255", "198.51.100.7", "203.0.113.5", "127.0.0.9")
TABLES = {
    "links": (":", False),
    "a default route": ("ip route add default via 192.0.2.254", False),
    "metrics": (
        "ip route add 198.51.100.0/24 via 192.0.2.8 metric 9; "
        "ip route add 198.51.100.0/24 via 192.0.2.7 metric 5; "
        "ip route add 198.51.100.0/24 via 192.0.2.6 metric 7",
        False,
    ),
    "a type of service": (
        "ip route add 198.51.100.0/24 via 192.0.2.8 tos 0x10; ip route add default dev up0",
        False,
    ),
    "refusals": (
        "ip route add default dev up0; ip route add blackhole 198.51.100.0/24; "
        "ip route add unreachable 203.0.113.0/28; ip route add prohibit 192.0.2.9",
        False,
    ),
    "a gateway on the link": ("ip route add 198.51.100.7 via 10.9.9.9 dev up0 onlink", False),
    "a link that is down": ("ip route add default dev up0; ip link set up1 down", False),
    "several gateways": (
        "ip route add 198.51.100.0/24 nexthop via 192.0.2.8 nexthop via 192.0.2.8 weight 2",
        True,
    ),
    "a rule": (
        "ip rule add to 198.51.100.0/24 lookup 100; ip route add default dev up0 table 100",
        True,
    ),
}
"""Shell text that changes the tables, and True if these leave the routes open."""


def shared(namespace: Namespace, tables: str) -> str:
    namespace.sh(tables)
    return namespace.sh(gather.script(NAME, PEERS, nonce="n0"))


def asked(namespace: Namespace) -> Iterator[list[dict[str, str]]]:
    for peer in PEERS:
        script = f"ip -N -j route get {peer} 2>/dev/null; :"
        if text := namespace.sh(script).strip():
            yield json.loads(text)


@pytest.mark.parametrize("case", TABLES)
def test_the_snapshot_has_the_routes_of_the_kernel(namespace: Namespace, case: str) -> None:
    """A host is asked for each peer only where its tables do not tell."""
    tables, is_open = TABLES[case]
    text = shared(namespace, tables)
    assert ("\nways asked\n" in text) == is_open
    fleet = Addresses(map(IPv4Address, PEERS))
    facts = gather.parse(HOST, NAME, Output(0, text, ""), nonce="n0", fleet=fleet).facts
    kernel = by_kernel(asked(namespace))
    assert facts.peer_routes == kernel

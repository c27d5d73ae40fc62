"""The routes to peers by the tables of a host are those that its kernel has answered."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.facts import host_probe
from provision.facts.lines import KeyedLines
from provision.facts.peer_routes import PeerRoute, by_tables

CAPTURES = sorted((Path(__file__).parents[1] / "probes" / "host").glob("*.txt"))
PEER = IPv4Address("10.0.0.9")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_tables_tell_what_the_kernels_of_lab_hosts_have_answered(path: Path) -> None:
    """Captured with a question for each peer, by earlier versions."""
    text = path.read_text()
    asked = host_probe.parse("h1", text).peer_routes
    lines = KeyedLines(text)
    entries = lines.decoded("every_route" if "every_route" in lines else "routes")
    assert by_tables(asked, entries) == asked


ETH1 = {"dst": "10.0.0.0/24", "dev": "eth1"}
TABLES = {
    "default": ([{"dst": "default", "gateway": "10.9.0.1", "dev": "eth0"}], ("eth0", "10.9.0.1")),
    "the longest prefix": ([{"dst": "10.0.0.0/8", "dev": "eth0"}, ETH1], ("eth1", None)),
    "a host": ([ETH1, {"dst": "10.0.0.9", "gateway": "10.0.0.1", "dev": "eth1"}],
               ("eth1", "10.0.0.1")),
    "the lowest metric": ([{**ETH1, "dev": "eth0", "metric": 9}, ETH1], ("eth1", None)),
    "the first of two": ([ETH1, {**ETH1, "dev": "eth0"}], ("eth1", None)),
    "an address of its own": ([ETH1, {"dst": "10.0.0.9", "dev": "eth1", "type": "2",
                                      "table": "255"}], ("lo", None)),
    "another table": ([ETH1, {"dst": "10.0.0.9", "dev": "eth0", "table": "100"}], ("eth1", None)),
    "no carrier": ([{**ETH1, "flags": ["dead"]}], None),
    "refused": ([ETH1, {"dst": "10.0.0.9", "type": "6"}], None),
    "nothing": ([], None),
    "IPv6": ([{"dst": "fd00::/64", "dev": "eth0"}], None),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_the_route_is_chosen_as_the_kernel_chooses_it(case: str) -> None:
    """The kernel of this machine is asked in tests/netns."""
    entries, expected = TABLES[case]
    route = by_tables([PEER], entries).get(PEER)  # type: ignore[arg-type]
    if expected is None:
        assert route is None
    else:
        dev, via = expected
        assert route == PeerRoute(dev, IPv4Address(via) if via else None)

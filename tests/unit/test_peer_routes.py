"""The routes to peers by the tables of a host are those that its kernel has answered."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from provision.facts import host_probe
from provision.facts.lines import KeyedLines
from provision.facts.peer_routes import Addresses, PeerRoute, PeerRoutes

CAPTURES = sorted((Path(__file__).parents[1] / "probes" / "host").glob("*.txt"))
PEER = IPv4Address("10.0.0.9")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_tables_tell_what_the_kernels_of_lab_hosts_have_answered(path: Path) -> None:
    """Captured with a question for each peer, by earlier versions."""
    text = path.read_text()
    asked = host_probe.parse("h1", text).peer_routes
    lines = KeyedLines(text)
    entries = lines.decoded("every_route" if "every_route" in lines else "routes")
    assert Addresses(asked).routes(None, entries) == asked


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
    route = Addresses([PEER]).routes(None, entries).get(PEER)  # type: ignore[arg-type]
    if expected is None:
        assert route is None
    else:
        dev, via = expected
        assert route == PeerRoute(dev, IPv4Address(via) if via else None)


FLEET = [IPv4Address(f"10.0.0.{number}") for number in range(1, 6)]
LINK = {"dst": "10.0.0.0/24", "dev": "eth1"}
DEFAULT = {"dst": "default", "gateway": "10.9.0.1", "dev": "eth0"}


def address_of(number: int) -> dict[str, str]:
    """The local table's entry for an address of a host."""
    return {"dst": f"10.0.0.{number}", "dev": "eth1", "type": "2", "table": "255"}


def test_hosts_of_a_fleet_share_the_peers_of_a_route() -> None:
    """Each leaves out itself; the set of the addresses is one object for all."""
    fleet = Addresses(FLEET)
    first, second = (fleet.routes(FLEET[n], [DEFAULT, LINK, address_of(n + 1)]) for n in range(2))
    route = PeerRoute("eth1", None)
    assert set(first) == {*FLEET[1:]} and set(second) == {FLEET[0], *FLEET[2:]}
    assert first.groups[route] is second.groups[route]
    assert first.get(FLEET[0]) is None and FLEET[0] not in first and len(first) == 4
    with pytest.raises(KeyError):
        first[FLEET[0]]


def test_an_address_of_a_peer_that_the_host_has_itself_is_told() -> None:
    """The local table comes before the main table."""
    routes = Addresses(FLEET).routes(FLEET[0], [LINK, address_of(1), address_of(3)])
    assert routes[FLEET[2]] == PeerRoute("lo", None)
    assert routes[FLEET[1]] == PeerRoute("eth1", None)


def test_the_routes_to_some_addresses_and_by_other_devices() -> None:
    """A route that leads to the host alone leads to no peer."""
    own = {"dst": "10.0.0.1", "dev": "eth2"}
    routes = Addresses(FLEET).routes(FLEET[0], [LINK, own, {**LINK, "dst": "10.0.0.4/31"}])
    assert list(routes.to_any(frozenset(FLEET))) == [PeerRoute("eth1", None)]
    assert list(routes.to_any(frozenset(FLEET[:1]))) == []
    moved = routes.with_devices({"eth1": "br1"})
    assert moved[FLEET[1]] == PeerRoute("br1", None) and set(moved) == set(routes)
    assert PeerRoutes.of(dict(routes)) == routes

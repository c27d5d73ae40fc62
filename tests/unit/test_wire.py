"""What sniffers counted, judged by what a method declares."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from provision.checks import wire
from provision.checks.wire import ContainerPair
from provision.inventory.load import load
from provision.methods.routes import RoutesMethod
from provision.model.inventory import Inventory
from provision.model.tunnel import Tunnel
from tests.house.test_structure import ROOT

GRE = "gre 0 10.78.0.11 10.78.0.12 172.20.0.2 172.20.1.2 9"
PLAIN = "plain 0 172.20.0.2 172.20.1.2 172.20.0.2 172.20.1.2 9"
VXLAN = "vxlan 4789 10.78.0.11 10.78.0.12 172.20.0.2 172.20.1.2 9"
SHOUT = "plain 0 172.20.0.2 172.20.0.255 172.20.0.2 172.20.0.255"


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load(ROOT / "inventories" / "routes.yml")


def way(inventory: Inventory, *, on_h1: tuple[str, ...], on_h2: tuple[str, ...]) -> ContainerPair:
    """From c1 on h1 to c2 on h2, with what both sniffers printed."""
    pair = (inventory.containers["c1"], inventory.containers["c2"])
    ends = (IPv4Address("172.20.0.2"), IPv4Address("172.20.1.2"))
    texts = {"h1": on_h1, "h2": on_h2}
    printed = {
        host: "".join(f"frame {words}\n" for words in lines) + "lost 0\n"
        for host, lines in texts.items()
    }
    return ContainerPair(
        inventory, pair, ends, {host: wire.parse(text) for host, text in printed.items()}
    )


def declare(patch: pytest.MonkeyPatch, tunnel: Tunnel | None) -> None:
    patch.setattr(RoutesMethod, "tunnel", lambda _self, _network: tunnel)


CASES = {
    "as it is": (None, (f"eth1 out {PLAIN}",), (f"eth1 in {PLAIN}",), ""),
    "wrapped": (
        Tunnel("gre"),
        (f"br-x in {PLAIN}", f"veth1 out {PLAIN}", f"eth1 out {GRE}"),
        (f"eth1 in {GRE}", f"veth1 in {PLAIN}"),
        "",
    ),
    "wrapped, but nobody said so": (
        None,
        (f"eth1 out {GRE}",),
        (f"eth1 in {GRE}",),
        "gre traffic 10.78.0.11 → 10.78.0.12 leaves h1",
    ),
    "in another tunnel": (
        Tunnel("vxlan", 4789),
        (f"eth1 out {GRE}",),
        (f"eth1 in {GRE}",),
        "gre traffic 10.78.0.11 → 10.78.0.12 leaves h1",
    ),
    "at another port": (
        Tunnel("vxlan", 8472),
        (f"eth1 out {VXLAN}",),
        (f"eth1 in {VXLAN}",),
        "vxlan (port 4789) traffic 10.78.0.11 → 10.78.0.12 leaves h1",
    ),
    "by another host": (
        Tunnel("gre"),
        (f"eth1 out {GRE.replace('.12 ', '.13 ')}",),
        (f"eth1 in {GRE.replace('.11 ', '.13 ')}",),
        "gre traffic 10.78.0.11 → 10.78.0.13 leaves h1",
    ),
    "by another host, as RSTP may": (
        Tunnel("gre", direct=False),
        (f"eth1 out {GRE.replace('.12 ', '.13 ')}",),
        (f"eth1 in {GRE.replace('.11 ', '.13 ')}",),
        "",
    ),
    "not all of it": (
        Tunnel("gre"),
        (f"eth1 out {GRE}", f"eth1 out {PLAIN}"),
        (f"eth1 in {GRE}", f"eth1 in {PLAIN}"),
        "unencapsulated traffic leaves h1",
    ),
    "not at all": (
        Tunnel("gre"),
        (f"eth1 out {PLAIN}",),
        (f"eth1 in {PLAIN}",),
        "no gre traffic leaves h1",
    ),
    "it does not arrive": (
        Tunnel("gre"),
        (f"eth1 out {GRE}",),
        (),
        "no gre traffic reaches h2",
    ),
    "nothing was seen": (None, (), (), "no traffic leaves h1"),
}


@pytest.mark.parametrize("case", CASES)
def test_traffic_travels_as_declared_or_the_reason_is_told(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Each deviation has its own words."""
    declared, on_h1, on_h2, expected = CASES[case]
    declare(monkeypatch, declared)
    assert way(inventory, on_h1=on_h1, on_h2=on_h2).error() == expected


def test_copies_of_a_broadcast_are_counted_by_interface(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came twice by one interface is a loop; once by each of two is none."""
    once = (f"veth1 in {SHOUT} 1", f"br-x in {SHOUT} 1", f"veth2 out {SHOUT} 1")
    assert way(inventory, on_h1=(), on_h2=once).copies() == 1
    looped = (*once[1:], f"veth1 in {SHOUT} 7")
    assert way(inventory, on_h1=(), on_h2=looped).copies() == 7
    apart = way(inventory, on_h1=(), on_h2=once)
    assert apart.expected_copies() == 0
    monkeypatch.setattr(RoutesMethod, "single_l2", lambda _self, _network: True)
    assert apart.expected_copies() == 1


def test_what_was_not_watched_is_not_judged(inventory: Inventory) -> None:
    """A sniffer that could not start, lost frames or did not answer says why."""
    fine = way(inventory, on_h1=(), on_h2=())
    assert fine.unknown() == ""
    for text, said in (
        ("unwatched: Operation not permitted\n", "no sniffer ran on h2: Operation not permitted"),
        ("", "no sniffer ran on h2: it printed no counts"),
        ("lost 12\n", "h2 is too busy: its sniffer missed 12 frames"),
    ):
        captures = {**fine.captures, "h2": wire.parse(text)}
        assert replace(fine, captures=captures).unknown() == said
    assert replace(fine, captures={}).unknown() == "no sniffer ran on h1: the host did not answer"

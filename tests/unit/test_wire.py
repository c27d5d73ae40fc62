"""The check `wire`: the sniffers' counts against the tunnel that a method declares."""

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
BROADCAST = "plain 0 172.20.0.2 172.20.0.255 172.20.0.2 172.20.0.255"


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    """The example routes.yml."""
    return load(ROOT / "inventories" / "routes.yml")


def pair_of(
    inventory: Inventory, *, on_h1: tuple[str, ...], on_h2: tuple[str, ...]
) -> ContainerPair:
    """The pair of c1 on h1 and c2 on h2, with the lines that both sniffers printed."""
    pair = (inventory.containers["c1"], inventory.containers["c2"])
    ends = (IPv4Address("172.20.0.2"), IPv4Address("172.20.1.2"))
    texts = {"h1": on_h1, "h2": on_h2}
    outputs = {
        host: "".join(f"frame {line}\n" for line in lines) + "lost 0\n"
        for host, lines in texts.items()
    }
    return ContainerPair(
        inventory, pair, ends, {host: wire.parse(text) for host, text in outputs.items()}
    )


def declare(patch: pytest.MonkeyPatch, tunnel: Tunnel | None) -> None:
    """Let method `routes` declare this tunnel."""
    patch.setattr(RoutesMethod, "tunnel", lambda _self, _network: tunnel)


CASES = {
    "plain": (None, (f"eth1 out {PLAIN}",), (f"eth1 in {PLAIN}",), ""),
    "encapsulated": (
        Tunnel("gre"),
        (f"br-x in {PLAIN}", f"veth1 out {PLAIN}", f"eth1 out {GRE}"),
        (f"eth1 in {GRE}", f"veth1 in {PLAIN}"),
        "",
    ),
    "encapsulated, but not declared": (
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
    "through a third host": (
        Tunnel("gre"),
        (f"eth1 out {GRE.replace('.12 ', '.13 ')}",),
        (f"eth1 in {GRE.replace('.11 ', '.13 ')}",),
        "gre traffic 10.78.0.11 → 10.78.0.13 leaves h1",
    ),
    "through a third host, as RSTP allows": (
        Tunnel("gre", direct=False),
        (f"eth1 out {GRE.replace('.12 ', '.13 ')}",),
        (f"eth1 in {GRE.replace('.11 ', '.13 ')}",),
        "",
    ),
    "partly encapsulated": (
        Tunnel("gre"),
        (f"eth1 out {GRE}", f"eth1 out {PLAIN}"),
        (f"eth1 in {GRE}", f"eth1 in {PLAIN}"),
        "unencapsulated traffic leaves h1",
    ),
    "not encapsulated": (
        Tunnel("gre"),
        (f"eth1 out {PLAIN}",),
        (f"eth1 in {PLAIN}",),
        "no gre traffic leaves h1",
    ),
    "does not arrive": (
        Tunnel("gre"),
        (f"eth1 out {GRE}",),
        (),
        "no gre traffic reaches h2",
    ),
    "no traffic": (None, (), (), "no traffic leaves h1"),
}


@pytest.mark.parametrize("case", CASES)
def test_traffic_must_travel_as_declared(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Each deviation has its own message."""
    declared, on_h1, on_h2, expected = CASES[case]
    declare(monkeypatch, declared)
    assert pair_of(inventory, on_h1=on_h1, on_h2=on_h2).traffic_error() == expected


def test_copies_of_a_broadcast_are_counted_by_interface(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two copies on one interface are a loop, one copy on each of two interfaces is not."""
    once = (f"veth1 in {BROADCAST} 1", f"br-x in {BROADCAST} 1", f"veth2 out {BROADCAST} 1")
    assert pair_of(inventory, on_h1=(), on_h2=once).broadcast_copies() == 1
    looped = (*once[1:], f"veth1 in {BROADCAST} 7")
    assert pair_of(inventory, on_h1=(), on_h2=looped).broadcast_copies() == 7
    routed = pair_of(inventory, on_h1=(), on_h2=once)
    assert routed.expected_copies() == 0
    monkeypatch.setattr(RoutesMethod, "single_l2", lambda _self, _network: True)
    assert routed.expected_copies() == 1


def test_without_complete_counts_the_check_is_unknown(inventory: Inventory) -> None:
    """The reason says that a sniffer did not start, lost frames, or did not answer."""
    complete = pair_of(inventory, on_h1=(), on_h2=())
    assert complete.skip_reason() == ""
    for text, reason in (
        (
            "sniffer failed: Operation not permitted\n",
            "no frame counts from h2: Operation not permitted",
        ),
        ("", "no frame counts from h2: the sniffer printed none"),
        ("lost 12\n", "h2 is too busy: its sniffer missed 12 frames"),
    ):
        captures = {**complete.captures, "h2": wire.parse(text)}
        assert replace(complete, captures=captures).skip_reason() == reason
    assert (
        replace(complete, captures={}).skip_reason()
        == "no frame counts from h1: the host did not answer"
    )

"""Who opens a published port: every other host and its containers, or who else may."""

from __future__ import annotations

from pathlib import Path

from provision.checks.ports import publications
from provision.inventory.load import load

INVENTORIES = Path(__file__).parents[2] / "inventories"


def callers(inventory: str, hosts: tuple[str, ...], port: str) -> set[tuple[str, str]]:
    """Who opens `port`, and at which address."""
    found = publications(load(INVENTORIES / inventory), hosts)
    return {(one.source, str(one.address)) for one in found if str(one.port) == port}


def test_a_port_is_opened_from_other_hosts_and_their_containers() -> None:
    """Not by containers without a way out (none, host, or another's namespace)."""
    found = callers("modes.yml", ("h1", "h2", "h3"), "8082:82/udp")
    assert {source for source, _ in found} == {"h1", "h2", "web1", "web2", "net1", "net2"}
    assert {address for _, address in found} == {"10.78.0.13"}


def test_a_port_of_the_loopback_is_opened_by_its_own_host() -> None:
    """Nobody else can."""
    found = callers("modes.yml", ("h1", "h2", "h3"), "127.0.0.1:9090:90/tcp")
    assert found == {("h2", "127.0.0.1")}


def test_with_one_host_chosen_it_opens_its_own_ports() -> None:
    """`--limit` leaves nobody else to ask."""
    assert callers("modes.yml", ("h3",), "8082:82/udp") == {("h3", "10.78.0.13")}

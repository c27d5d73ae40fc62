"""The callers that `verify` uses to test a published port."""

from __future__ import annotations

from pathlib import Path

from provision.checks.ports import publications
from provision.inventory.load import load

INVENTORIES = Path(__file__).parents[2] / "inventories"


def callers(inventory: str, hosts: tuple[str, ...], port: str) -> set[tuple[str, str]]:
    """The source and the address of each call to a published port."""
    calls = publications(load(INVENTORIES / inventory), hosts)
    return {(call.source, str(call.address)) for call in calls if str(call.port) == port}


def test_other_hosts_and_their_containers_call_a_port() -> None:
    """Containers without a network of their own (none, host, container:NAME) do not."""
    calls = callers("modes.yml", ("h1", "h2", "h3"), "8082:82/udp")
    assert {source for source, _ in calls} == {"h1", "h2", "web1", "web2", "net1", "net2"}
    assert {address for _, address in calls} == {"10.78.0.13"}


def test_only_its_own_host_calls_a_port_of_the_loopback() -> None:
    """No other host can reach that address."""
    calls = callers("modes.yml", ("h1", "h2", "h3"), "127.0.0.1:9090:90/tcp")
    assert calls == {("h2", "127.0.0.1")}


def test_a_single_host_calls_its_own_ports() -> None:
    """No other host may be used with `--limit`."""
    assert callers("modes.yml", ("h3",), "8082:82/udp") == {("h3", "10.78.0.13")}

"""Conflicts with programs that listen at the ports of a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision import methods
from provision.engine import ports_in_use
from provision.facts.host import PortListener
from provision.inventory.load import load
from tests.cases.test_cases import facts

FLANNEL = """name: over
hosts:
  h1: {address: 10.78.0.11}
  h2: {address: 10.78.0.12}
networks:
  over: {method: flannel, cidr: 172.22.0.0/16, etcd: {members: [h1]}}
"""


@pytest.mark.parametrize(
    ("listener", "conflict"),
    [
        (PortListener("udp", "10.0.0.9", 8472, "named"), "named listens at UDP port 8472"),
        (PortListener("udp", "[::]", 8472, "named"), None),
        (PortListener("udp", "*", 4789, "named"), None),
        (PortListener("tcp", "127.0.0.1", 2379, "etcd"), None),
        (PortListener("tcp", "10.78.0.11", 2379, "etcd"), "etcd listens at TCP port 2379"),
        (PortListener("tcp", "*", 2380, "etcd"), "etcd listens at TCP port 2380"),
        (PortListener("udp", "*", 2379, "named"), None),
    ],
)
def test_a_taken_port_is_a_conflict(
    tmp_path: Path, listener: PortListener, conflict: str | None
) -> None:
    """A tunnel takes all addresses of the host, etcd only its own."""
    (tmp_path / "over.yml").write_text(FLANNEL)
    inventory = load(tmp_path / "over.yml")
    both = facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5"), "applied": False})
    both["h1"] = replace(both["h1"], listeners=(listener,))
    messages = [entry.message for entry in ports_in_use.conflicts(inventory, both)]
    assert messages == ([f"{conflict}, which it needs"] if conflict else [])


def test_the_snapshot_asks_for_the_ports_of_the_hosts_networks(tmp_path: Path) -> None:
    """Those of etcd only on its members."""
    (tmp_path / "over.yml").write_text(FLANNEL)
    inventory = load(tmp_path / "over.yml")
    assert methods.ports(inventory, "h1") == ("udp/8472", "tcp/2379", "tcp/2380")
    assert methods.ports(inventory, "h2") == ("udp/8472",)

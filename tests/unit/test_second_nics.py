"""Warnings about a second NIC on the LAN of the hosts."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provision.engine import preflight
from provision.facts.host import Link
from provision.inventory.load import load
from tests.cases.test_cases import facts

TWO = """name: two
hosts:
  h1: {{address: 10.78.0.11}}
  h2: {{address: 10.78.0.12}}
networks:
  blue: {{method: {method}}}
"""
METHODS = {"routes": "routes, cidr: 172.20.0.0/16", "vxlan": "vxlan, cidr: 172.20.0.0/16"}


@pytest.mark.parametrize(
    ("method", "settings", "address", "reason"),
    [
        ("routes", {}, "10.78.0.21/24", "only eth1 is let in"),
        ("routes", {"eth2": (0, 1)}, "10.78.0.21/24", ""),
        ("routes", {"all": (0, 2)}, "10.78.0.21/24", ""),
        ("routes", {}, "10.79.0.21/24", ""),
        ("vxlan", {}, "10.78.0.21/24", ""),
        ("vxlan", {"all": (1, 0)}, "10.78.0.21/24", "its rp_filter is 1, strict"),
        ("vxlan", {"eth2": (2, 0), "all": (1, 0)}, "10.78.0.21/24", ""),
    ],
)
def test_a_second_nic_on_the_lan_is_named(
    tmp_path: Path, method: str, settings: dict[str, tuple[int, int]], address: str, reason: str
) -> None:
    """Where packets that come in by it are dropped: by Docker or by the kernel's filter."""
    (tmp_path / "two.yml").write_text(TWO.format(method=METHODS[method]))
    inventory = load(tmp_path / "two.yml")
    both = facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5"), "applied": False})
    second = Link("eth2", 1500, (IPv4Interface(address),))
    links = {**both["h1"].links, "eth2": second}
    both["h1"] = replace(both["h1"], links=links, ip_settings=settings)
    messages = [problem.message for problem in preflight.warnings(inventory, both)]
    assert [m for m in messages if "eth2" in m] == (
        [
            "eth1 and eth2 are both on 10.78.0.0/24: packets of network blue that come in by eth2"
            f" are dropped ({reason})"
        ]
        if reason
        else []
    )
    down = replace(both["h1"], links={**links, "eth2": replace(second, up=False)})
    assert not list(preflight.warnings(inventory, both | {"h1": down}))

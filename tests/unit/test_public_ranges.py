"""A plan warns of ranges that the internet routes to somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.engine.public_ranges import warnings
from provision.inventory.load import load


@pytest.mark.parametrize(
    ("cidr", "is_public"),
    [
        ("8.8.0.0/16", True),
        ("172.32.0.0/16", True),
        ("172.20.0.0/16", False),
        ("100.64.0.0/16", False),
        ("198.18.0.0/16", False),
    ],
)
def test_public_addresses_of_a_network(tmp_path: Path, cidr: str, *, is_public: bool) -> None:
    """Private ranges, those of carriers' NAT and of benchmarks are nobody's (RFC 6890)."""
    (tmp_path / "i.yml").write_text(
        "name: demo\nhosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}\n"
        f"networks: {{blue: {{method: routes, cidr: {cidr}}}}}\n"
        "containers: {web: {host: h1, network: blue}, db: {host: h2, network: blue}}\n"
    )
    lines = list(warnings(load(tmp_path / "i.yml")))
    assert [f"network 'blue': {cidr} has public addresses" in line for line in lines] == (
        [True] if is_public else []
    )

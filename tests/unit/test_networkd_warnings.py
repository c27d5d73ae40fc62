"""Warnings of bridges that systemd-networkd manages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from provision.engine import preflight
from provision.inventory.load import load
from tests.cases import test_cases

ROOT = Path(__file__).parents[2]
DOCKER = {"docker": {"h1": "26.1.5", "h2": "26.1.5", "h3": "26.1.5"}}


def test_a_catch_all_file_is_named() -> None:
    """The file, the bridge and the host; a file that only matches the NIC is fine."""
    inventory = load(ROOT / "inventories/routes.yml")
    facts = test_cases.facts(inventory, DOCKER)
    assert not [*preflight.warnings(inventory, facts)]
    nic = {"eth1": "/etc/systemd/network/eth1.network"}
    bridge = {"br-blue-v242wt": "/etc/systemd/network/99-all.network"}
    facts["h1"] = dataclasses.replace(facts["h1"], networkd_files=nic)
    facts["h2"] = dataclasses.replace(facts["h2"], networkd_files={**nic, **bridge})
    (warning,) = preflight.warnings(inventory, facts)
    assert str(warning).startswith("h2: /etc/systemd/network/99-all.network makes systemd-networkd")
    assert "Name=br-blue-v242wt veth*" in warning.hint

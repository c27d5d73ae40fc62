"""Warnings of bridges that systemd-networkd manages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("method", "device"),
    [
        ("wireguard", "wg-blue-v242wt"),
        ("vxlan", "vx-blue-v242wt"),
        ("vxlan, mode: routed", "vx-blue-v242wt"),
        ("flannel, etcd: {members: [h1]}", "flannel.1"),
    ],
)
def test_a_file_that_takes_the_device_of_a_tunnel_is_named(
    tmp_path: Path, method: str, device: str
) -> None:
    """The advice for the bridge leaves the device out, too: else the file would go on taking it."""
    path = tmp_path / "demo.yml"
    hosts = "hosts: {h1: {address: 10.78.0.11}, h2: {address: 10.78.0.12}}"
    network = f"networks: {{blue: {{method: {method}, cidr: 172.20.0.0/16}}}}"
    path.write_text(f"name: demo\n{hosts}\n{network}\n")
    inventory = load(path)
    facts = test_cases.facts(inventory, {"docker": dict.fromkeys(("h1", "h2"), "26.1.5")})
    for taken in ("br-blue-v242wt", device):
        files = {taken: "/etc/systemd/network/99-all.network"}
        facts["h2"] = dataclasses.replace(facts["h2"], networkd_files=files)
        (warning,) = preflight.warnings(inventory, facts)
        assert f"makes systemd-networkd manage {taken}: when networkd restarts" in warning.message
        assert f"`Name=br-blue-v242wt {device} veth*`" in warning.hint

"""The checks of LANs; pytest runs them once for each probe on layer 2."""

from __future__ import annotations

import pytest

from provision.checks.gather import Evidence
from provision.checks.lan_probe import LanProbe
from provision.checks.require import require_reached, require_tools


def test_arp(evidence: Evidence, arp_probe: LanProbe) -> None:
    """Exactly one machine answers ARP for the address."""
    _require_success(evidence, "arp", arp_probe)


def test_link(evidence: Evidence, ping_probe: LanProbe) -> None:
    """Pings come back with the TTL that they were sent with: no router is in between."""
    _require_success(evidence, "link", ping_probe)


def test_size(evidence: Evidence, ping_probe: LanProbe) -> None:
    """A packet of exactly the network's MTU passes without being fragmented."""
    _require_success(evidence, "size", ping_probe)


def test_duplicate(evidence: Evidence, own_probe: LanProbe) -> None:
    """No other machine has the address."""
    _require_success(evidence, "duplicate", own_probe)


def test_apart(evidence: Evidence, vlan_probe: LanProbe) -> None:
    """An endpoint in another VLAN does not answer ARP."""
    _require_success(evidence, "apart", vlan_probe)


def _require_success(evidence: Evidence, check: str, probe: LanProbe) -> None:
    require_reached(evidence, probe.host)
    require_tools(evidence, probe.host)
    answer = evidence.answers.get((check, probe.source.key, probe.target_key))
    if answer is None:
        pytest.fail(f"{probe.source.name} on {probe.host} gave no answer")
    assert answer.status == 0, answer.text

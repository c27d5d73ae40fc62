"""The checks of LANs; pytest runs them once for each question that was asked on layer 2."""

from __future__ import annotations

import pytest

from provision.checks.gather import Evidence
from provision.checks.lan_probe import Question


def test_arp(seen: Evidence, reach: Question) -> None:
    """One machine answers for the address, on the link itself."""
    _said(seen, "arp", reach)


def test_link(seen: Evidence, direct: Question) -> None:
    """Pings come back with the TTL they were sent with: no router is between."""
    _said(seen, "link", direct)


def test_size(seen: Evidence, direct: Question) -> None:
    """A packet of exactly the network's MTU passes without being split."""
    _said(seen, "size", direct)


def test_duplicate(seen: Evidence, own: Question) -> None:
    """Nobody else has the address."""
    _said(seen, "duplicate", own)


def test_apart(seen: Evidence, apart: Question) -> None:
    """What is in another VLAN is not heard."""
    _said(seen, "apart", apart)


def test_host(seen: Evidence, moved: str) -> None:
    """The host's own addresses, default routes and name servers are what they were."""
    if moved in seen.errors:
        pytest.fail(str(seen.errors[moved]))
    wrong = seen.lost[moved]
    assert not wrong, "; ".join(wrong)


def _said(seen: Evidence, check: str, wire: Question) -> None:
    host = wire.host
    if host in seen.errors:
        pytest.fail(str(seen.errors[host]))
    if host in seen.absent:
        pytest.skip(f"{host} lacks {', '.join(seen.absent[host])}")
    answer = seen.answers.get((check, wire.source.name, wire.target))
    if answer is None:
        pytest.fail(f"{wire.source.name} on {host} gave no answer")
    assert answer.status == 0, answer.text

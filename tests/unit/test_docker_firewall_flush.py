"""A flush of Docker's own rules, with both of its backends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provision.checks.drift_text import describe
from provision.engine import desired, refusals
from provision.engine.plan import Change
from provision.facts import firewall
from provision.facts.firewall import Firewall
from provision.facts.lines import KeyedLines
from provision.inventory.load import load
from provision.model.errors import ConflictError
from provision.resources.base import Origin
from provision.resources.kinds.docker_firewall import TABLE, DockerFirewall
from tests.cases import test_cases

ROOT = Path(__file__).parents[2]
DOCKER = {"docker": {"h1": "29.99.0", "h2": "29.99.0", "h3": "29.99.0"}}


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("intact", DockerFirewall("h1")),
        ("flushed", DockerFirewall("h1", intact=False)),
        ("docker-bridges intact", DockerFirewall("h1", rules=TABLE)),
        ("docker-bridges flushed", DockerFirewall("h1", intact=False, rules=TABLE)),
    ],
)
def test_the_rules_of_each_backend_are_found(printed: str, found: DockerFirewall) -> None:
    """By the name of what Docker makes: a chain of iptables, or a table of nftables."""
    (entry,) = DockerFirewall.parse(printed, Origin("h1", "demo"))
    assert entry.resource == found and not entry.ours


@pytest.mark.parametrize(("state", "repaired"), [("intact", []), ("flushed", [TABLE])])
def test_a_flushed_table_of_docker_is_repaired(state: str, repaired: list[str]) -> None:
    """A chain DOCKER-USER is not missed with the backend nftables."""
    inventory = load(ROOT / "inventories/routes.yml")
    facts = test_cases.facts(inventory, DOCKER)
    lines = KeyedLines(f"docker_mark 0x2000/0x2000\ndocker_tables {state}")
    read = replace(firewall.parse(lines), is_read=True, docker_nftables=True)
    facts["h1"] = replace(facts["h1"], nftables_backend=True, firewall=read)
    assert read.was_flushed is bool(repaired)
    wanted = desired.wanted(inventory, facts)
    assert [r.name for r in wanted.values() if isinstance(r, DockerFirewall)] == repaired


def test_a_backend_of_iptables_does_not_miss_a_table() -> None:
    """The table of nftables only counts where Docker makes it."""
    assert not Firewall("-A FORWARD -j DOCKER-USER", is_read=True).was_flushed


def test_the_lost_table_is_named() -> None:
    """By drift, and by an `apply` without consent."""
    wanted = DockerFirewall("h1", rules=TABLE)
    change = Change(wanted.ref, "update", replace(wanted, intact=False), wanted, None)
    assert describe(change) == "the firewall was flushed: systemctl restart docker"
    with pytest.raises(ConflictError, match="h1: table docker-bridges has lost its rules") as error:
        refusals.require_docker_rules([change])
    assert "systemctl restart docker` on h1" in str(error.value.hint)

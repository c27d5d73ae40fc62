"""Facts of a host that BGP speakers need: an FRR that is not of `provision`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.model.problems import Problem

UNIT = "frr.service"
# A unit that is masked, or that does not exist, is neither enabled nor active.
_SCRIPT = f"""
if command -v systemctl >/dev/null 2>&1; then
  systemctl -q is-active {UNIT} && echo 'frr running'
  systemctl -q is-enabled {UNIT} 2>/dev/null && echo 'frr enabled'
fi
:
"""


@dataclass(frozen=True, slots=True)
class FrrFacts:
    """`of_others`: Debian's own service of FRR runs, or starts at boot."""

    of_others: bool = False


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("bgp_facts", _SCRIPT, _parse)


def _parse(text: str) -> FrrFacts:
    return FrrFacts(bool(KeyedLines(text).every("frr")))


def problems(facts: HostFacts, instead: str) -> Iterator[Problem]:
    """Yield the reason why a host cannot run FRR for a network; `instead`: what to write then."""
    if facts.of(FrrFacts).of_others:
        message = f"its own {UNIT} is enabled or runs, and a host has one FRR for its kernel"
        hint = f"run `systemctl disable --now {UNIT}`, or write {instead}"
        yield Problem(facts.host, message, hint)

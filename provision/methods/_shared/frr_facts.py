"""Facts of a host that BGP speakers need: an FRR that is not of `provision`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from provision.facts.host import HostFacts
from provision.facts.lines import KeyedLines
from provision.facts.probe import FactsProbe
from provision.model.inventory import Inventory
from provision.model.problems import Problem
from provision.resources.on_hosts import UNIT_FOLDER, Mark

UNIT = "frr.service"
SOLE = "frr"
"""`Method.sole` of methods that run FRR."""
# A unit that is masked, or that does not exist, is neither enabled nor active.
_SCRIPT = f"""
if command -v systemctl >/dev/null 2>&1; then
  systemctl -q is-active {UNIT} && echo 'frr running'
  systemctl -q is-enabled {UNIT} 2>/dev/null && echo 'frr enabled'
fi
for file in {UNIT_FOLDER}/provision-*-bgp.service {UNIT_FOLDER}/provision-*-evpn.service; do
  [ ! -f "$file" ] || echo "speaker ${{file##*-}} $(head -n 1 "$file")"
done
"""


@dataclass(frozen=True, slots=True)
class FrrFacts:
    """`of_others`: Debian's own service of FRR runs, or starts at boot.

    `speakers` are the unit files of speakers of all inventories: `bgp` or `evpn`, and the mark.
    """

    of_others: bool = False
    speakers: tuple[tuple[str, Mark], ...] = ()


def probe() -> FactsProbe:
    """The probe of a host."""
    return FactsProbe("bgp_facts", _SCRIPT, _parse)


def _parse(text: str) -> FrrFacts:
    lines = KeyedLines(text)
    pairs = lines.pairs("speaker")
    speakers = ((unit.partition(".")[0], Mark.of_tag(head[2:])) for unit, head in pairs)
    return FrrFacts(bool(lines.every("frr")), tuple(speakers))


def problems(
    inventory: Inventory, facts: HostFacts, instead: str, programs: Collection[str]
) -> Iterator[Problem]:
    """Yield the reasons why a host cannot run FRR for a network.

    `instead`: what to write then; `programs`: those of other inventories that cannot run beside it.
    """
    if facts.of(FrrFacts).of_others:
        message = f"its own {UNIT} is enabled or runs, and a host has one FRR for its kernel"
        hint = f"run `systemctl disable --now {UNIT}`, or write {instead}"
        yield Problem(facts.host, message, hint)
    for program, mark in facts.of(FrrFacts).speakers:
        if program in programs and mark.inventory != inventory.name:
            message = (
                f"it runs FRR for network {mark.network} of inventory {mark.inventory}, and a host "
                "has one FRR for its kernel"
            )
            yield Problem(
                facts.host, message, f"put both networks on other hosts, or write {instead}"
            )

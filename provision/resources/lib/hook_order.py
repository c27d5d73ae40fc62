"""Rules of others before the jump to a chain of ours, and whether they make that useless. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provision.resources.lib.rule_cover import Rule, covers, target

VERDICTS = {
    "ACCEPT": "accept", "RETURN": "return", "DROP": "drop", "REJECT": "drop",
    "MASQUERADE": "translate", "SNAT": "translate",
}  # fmt: skip
"""Targets that end the way of a packet through a chain, by what becomes of it."""


def rule_before(
    foreign: Iterable[Rule],
    chain: Sequence[Rule],
    passing: Iterable[Rule],
    verdicts: Mapping[str, str],
) -> str:
    """The first of the rules `foreign` that does something else with packets of a chain.

    `chain` are the rules of the chain. `passing` are those of the network's chain of the table
    filter, which also name the interfaces of packets that the chain of the table nat translates.
    Empty if there is none: a jump to another chain decides nothing here, nor does a rule that takes
    only a part of the packets of each rule, as that for one container may be meant so.
    """
    packets = [*chain, *passing]
    for rule in foreign:
        verdict = verdicts.get(target(rule))
        if verdict and any(
            wanted not in (verdict, None)
            for packet in packets
            if covers(rule, packet)
            for wanted in [_verdict(chain, packet, verdicts)]
        ):
            return " ".join(rule)
    return ""


def _verdict(chain: Sequence[Rule], packet: Rule, verdicts: Mapping[str, str]) -> str | None:
    """The verdict of the chain on all packets of a rule; None if its rules leave it open."""
    return next((verdicts.get(target(rule)) for rule in chain if covers(rule, packet)), None)

"""Causes in address translation: a probe that gets another target or source. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from provision.checks.explain.case import Case
from provision.checks.explain.evidence import HostEvidence, TraceStep
from provision.checks.explain.model import Cause
from provision.checks.explain.verdicts import is_answer, is_lost, is_tunnelled, owner_of
from provision.checks.rule_removal import removal


def translations(case: Case) -> Iterator[Cause]:
    """Yield the rules that gave the probe another target than the one that was sent."""
    targets = {case.target_address, case.inner_address}
    for host, evidence in case.evidence.items():
        sent = [packet.inner[1] for packet in evidence.packets if packet.kind == "request"]
        # A rule behind the translation may drop the packet before a sniffer sees it.
        for target in (*sent, *_traced_targets(case, evidence)):
            if target not in targets:
                rule = _nat_rule(evidence, "DNAT", "REDIRECT")
                text = f"{host} sends the probe to {target} instead of {case.inner_address}"
                yield _nat_cause(case, host, rule, text)


def _traced_targets(case: Case, evidence: HostEvidence) -> Iterator[IPv4Address]:
    """Yield the destinations of the probe in netfilter's trace."""
    if _nat_rule(evidence, "DNAT", "REDIRECT") is None:
        return
    for verdict in evidence.verdicts:
        ours = verdict.packet.get("SRC") == str(case.address) and is_lost(case, verdict)
        if ours and not is_tunnelled(case, verdict) and "DST" in verdict.packet:
            yield IPv4Address(verdict.packet["DST"])


def masquerades(case: Case) -> Iterator[Cause]:
    """Yield the rules that hide the source of a probe which should arrive with its address."""
    if case.network is None or case.target_side is None:
        return
    last = [point for point in case.points if not point.reply][-1]
    for packet in case.of(last.host).at(last):
        if packet.inner[0] != case.address and case.source_side.link is not None:
            for host, evidence in case.evidence.items():
                if rule := _nat_rule(evidence, "MASQUERADE", "SNAT"):
                    text = f"{host} hides the source: {last.host} sees {packet.inner[0]}"
                    yield _nat_cause(case, host, rule, text)
                    return


def hidden(case: Case, dropper: str, verdict: TraceStep) -> Iterator[Cause]:
    """Yield the rule that hides the source of a container's probe, so that no rule accepts it."""
    source = verdict.packet.get("SRC")
    translated = source != str(case.address) and not is_answer(case, verdict)
    if verdict.handle != "policy" or not translated or case.source_side.link is None:
        return
    for host, evidence in case.evidence.items():
        if rule := _nat_rule(evidence, "MASQUERADE", "SNAT"):
            text = (
                f"{host} hides the source {case.address}, and {dropper} accepts none from {source}"
            )
            yield _nat_cause(case, host, rule, text)


def _nat_rule(evidence: HostEvidence, *targets: str) -> TraceStep | None:
    for verdict in evidence.verdicts:
        if verdict.table == "nat" and any(f"-j {target}" in verdict.rule for target in targets):
            return verdict
    return None


def _nat_cause(case: Case, host: str, rule: TraceStep | None, text: str) -> Cause:
    if rule is None:
        return Cause(host, "nat_rule", "a rule of the table nat", text, "a person",
                     "iptables -t nat -S", certain=False)  # fmt: skip
    owner = owner_of(case.of(host), rule)
    name = f"iptables -t nat {rule.rule}"
    undo = removal("iptables", "nat", rule.rule)
    return Cause(host, "nat_rule", name, f"{text}: {name}", owner,
                 undo if owner == "a person" else case.apply)  # fmt: skip

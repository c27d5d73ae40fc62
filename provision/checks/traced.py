"""Packets of failing pairs, followed: the cause that each group of failures stands for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from provision.checks.diagnosis import DiagnosedCause, Diagnosis, FailureGroup
from provision.checks.explain.explain import explain
from provision.checks.explain.model import Cause, Explanation, Probe
from provision.engine.fleet import Session
from provision.facts.topology import HostTopology
from provision.model.errors import ProvisionError
from provision.model.inventory import Inventory

_BY_PING = frozenset(("ping", "source", "mtu", "wire", "broadcast"))
"""Checks whose failure shows with the pings of `explain`, a small and a large one."""
_PORT = 9
"""The port of the service discard, for a TCP or UDP probe: a refusal is an answer, too."""
_ALIASES: Mapping[str, str] = {"mtu_differs": "mtu", "docker_firewall": "docker_isolation"}
"""Kinds of the doctor, and the kind by which `explain` names the same cause."""
_OBSERVED = ("unknown", "underlay_down")
"""Kinds whose text only says where the packet was lost: no guess to mark as one."""


def with_traces(diagnosis: Diagnosis, causes: Iterable[DiagnosedCause]) -> Diagnosis:
    """The diagnosis with the causes that `explain` has found.

    The causes that a packet has shown come first, and replace findings of the same kind on the
    same host. Where a difference has the same fix, its line stays instead: it names all that is
    missing. Guesses come last, and only if the doctor has found nothing.
    """
    causes = list(dict.fromkeys(causes))
    shown = [_known(cause, diagnosis.causes) for cause in causes if cause.certain]
    findings = [each for each in diagnosis.causes if not any(_same(each, cause) for cause in shown)]
    silent = [each for each in findings if each.kind == "silent"]
    findings = [each for each in findings if each.kind != "silent"]
    certain = shown or any(each.kind != "drift" for each in findings)
    guesses = [] if certain else [cause for cause in causes if not cause.certain]
    return replace(diagnosis, causes=tuple(dict.fromkeys((*silent, *shown, *findings, *guesses))))


def _known(cause: DiagnosedCause, findings: Iterable[DiagnosedCause]) -> DiagnosedCause:
    """The difference that the same command mends, else the cause itself."""
    for finding in findings:
        if finding.kind == "drift" and (finding.host, finding.fix) == (cause.host, cause.fix):
            return finding
    return cause


def _same(finding: DiagnosedCause, cause: DiagnosedCause) -> bool:
    kind = _ALIASES.get(finding.kind, finding.kind)
    return (finding.host, kind) == (cause.host, _ALIASES.get(cause.kind, cause.kind))


def followed(
    session: Session,
    groups: Iterable[FailureGroup],
    known: Mapping[str, HostTopology] = MappingProxyType({}),
) -> Iterator[DiagnosedCause]:
    """Yield the cause that `explain` finds for one pair of each group.

    `known` are the topologies of hosts after the checks.
    """
    # One after the other: a trace of netfilter shows the probes of all that run.
    for group in groups:
        probe = _probe(session.inventory, group)
        if probe is None:
            continue
        pair = group.pairs[0]
        source, target = (end.partition("/")[0] for end in (pair.source, pair.target))
        session.say(f"Following a packet from {source} to {target}")
        # The results of the checks stay what they are where the packet cannot be followed.
        with suppress(ProvisionError):
            explained = explain(session, session.inventory, source, target, probe, known)
            yield from _shown(group, explained)


def _probe(inventory: Inventory, group: FailureGroup) -> Probe | None:
    """The probe that shows the failures of a group; None for checks that send no packet."""
    if not _BY_PING.isdisjoint(group.checks):
        return Probe()
    for protocol in ("tcp", "udp"):
        if protocol in group.checks:
            return Probe(protocol, _PORT)
    container = inventory.members.get(group.pairs[0].target)
    if "port" in group.checks and container is not None and container.ports:
        port = container.ports[0]
        return Probe(port.protocol, port.published)
    return None


def _shown(group: FailureGroup, explanation: Explanation) -> Iterator[DiagnosedCause]:
    """Yield the cause that a packet of the group's first pair has shown."""
    cause = explanation.cause
    # Nobody has to listen at the port of the probe.
    if cause is None or (cause.kind == "no_listener" and "port" not in group.checks):
        return
    text = _text(cause, f"a packet from {explanation.source} to {explanation.target}")
    yield DiagnosedCause(cause.host, text, cause.fix, cause.kind, certain=cause.certain)


def _text(cause: Cause, packet: str) -> str:
    """The cause's sentence behind its host's name, with the packet instead of "the probe"."""
    text = cause.text.removeprefix(f"{cause.host} ").replace(f" of {cause.host} ", " ", 1)
    text = text.replace("the probe", packet, 1)
    return text if cause.certain or cause.kind in _OBSERVED else f"perhaps {text}"

"""The diagnosis of a verify with `explain`: a packet for each group of failures, and its cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

from provision.checks.diagnosis import DiagnosedCause, Diagnosis
from provision.checks.explain.explain import explain
from provision.checks.explain.model import Cause, Explanation, Probe
from provision.checks.failure_groups import FailureGroup
from provision.checks.subjects import Check
from provision.engine.fleet import Session
from provision.facts.topology import HostTopology
from provision.model.errors import ProvisionError
from provision.model.inventory import Inventory, Port

_ORDER = ("ping", "source", "mtu", "wire", "broadcast", "tcp", "udp", "port")
"""Checks whose failure a probe shows, the simplest first.

The first five show with the pings of `explain`, a small and a large one.
"""
_DISCARD = 9
"""The port of the service discard, for a TCP or UDP probe: a refusal is an answer, too."""
_ALIASES: Mapping[str, str] = {"mtu_differs": "mtu", "docker_firewall": "docker_isolation"}
"""Kinds of the doctor, and the kind by which `explain` names the same cause."""
_OBSERVED = ("unknown", "underlay_down")
"""Kinds whose text only says where the packet was lost: no guess to mark as one."""


def with_packet_causes(diagnosis: Diagnosis, causes: Iterable[DiagnosedCause]) -> Diagnosis:
    """The diagnosis with the causes that `explain` has found.

    Causes that a packet has proved come first; each replaces the doctor's finding of the same kind
    on the same host. Where `apply` mends both, the line about drift stays, because it names
    everything that is missing. Guesses come last, and only if the doctor found nothing but drift.
    """
    causes = list(dict.fromkeys(causes))
    shown = [_drift_with_same_fix(cause, diagnosis.causes) for cause in causes if cause.certain]
    findings = [
        each for each in diagnosis.causes if not any(_is_same_kind(each, cause) for cause in shown)
    ]
    silent = [each for each in findings if each.kind == "silent"]
    findings = [each for each in findings if each.kind != "silent"]
    certain = shown or any(each.kind != "drift" for each in findings)
    guesses = [] if certain else [cause for cause in causes if not cause.certain]
    return replace(diagnosis, causes=tuple(dict.fromkeys((*silent, *shown, *findings, *guesses))))


def _drift_with_same_fix(
    cause: DiagnosedCause, findings: Iterable[DiagnosedCause]
) -> DiagnosedCause:
    """The difference that the same command mends, else the cause itself."""
    for finding in findings:
        if finding.kind == "drift" and (finding.host, finding.fix) == (cause.host, cause.fix):
            return finding
    return cause


def _is_same_kind(finding: DiagnosedCause, cause: DiagnosedCause) -> bool:
    kind = _ALIASES.get(finding.kind, finding.kind)
    return (finding.host, kind) == (cause.host, _ALIASES.get(cause.kind, cause.kind))


def packet_causes(
    session: Session,
    groups: Iterable[FailureGroup],
    known: Mapping[str, HostTopology] = MappingProxyType({}),
) -> Iterator[DiagnosedCause]:
    """Yield the cause that `explain` finds for one pair of each group.

    `known` are the topologies of hosts after the checks.
    """
    # One after the other: a trace of netfilter shows the probes of all that run.
    for group in groups:
        failure = _shown_by_packet(session.inventory, group)
        if failure is None:
            continue
        probe = _probe(session.inventory, failure)
        source, target = (end.partition("/")[0] for end in (failure.source, failure.target))
        session.say(f"Following a packet from {source} to {target}")
        # A packet that cannot be followed must not change the results of the checks.
        with suppress(ProvisionError):
            explained = explain(session, session.inventory, source, target, probe, known)
            yield from _packet_cause(failure, explained)


def _shown_by_packet(inventory: Inventory, group: FailureGroup) -> Check | None:
    """The failure of a group that a probe can show; None if its checks send no packet."""
    failures = sorted(
        (each for each in group.failures if each.check in _ORDER),
        key=lambda failure: _ORDER.index(failure.check),
    )
    usable = (each for each in failures if each.check != "port" or _port(inventory, each))
    return next(usable, None)


def _port(inventory: Inventory, failure: Check) -> Port | None:
    """The published port of a failure."""
    container = inventory.members.get(failure.target)
    ports = container.ports if container is not None else ()
    return next((port for port in ports if str(port) == failure.port), None)


def _probe(inventory: Inventory, failure: Check) -> Probe:
    """The probe that fails as the check did."""
    if failure.check in ("tcp", "udp"):
        # The probe goes to the discard port, where no program has to listen.
        return Probe(failure.check, _DISCARD)
    port = _port(inventory, failure)
    return Probe(port.protocol, port.published) if port is not None else Probe()


def _packet_cause(failure: Check, explanation: Explanation) -> Iterator[DiagnosedCause]:
    """Yield the cause that a packet has shown."""
    cause = explanation.cause
    # Nobody has to listen at the port of the probe.
    if cause is None or (cause.kind == "no_listener" and failure.check != "port"):
        return
    text = _text(cause, f"a packet from {explanation.source} to {explanation.target}")
    yield DiagnosedCause(cause.host, text, cause.fix, cause.kind, certain=cause.certain)


def _text(cause: Cause, packet: str) -> str:
    """The cause's sentence behind its host's name, with the packet instead of "the probe"."""
    text = cause.text.removeprefix(f"{cause.host} ").replace(f" of {cause.host} ", " ", 1)
    text = text.replace("the probe", packet, 1)
    return text if cause.certain or cause.kind in _OBSERVED else f"perhaps {text}"

"""The packets of failing pairs, followed: the cause that each group of failures stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.checks.diagnosis import DiagnosedCause, Diagnosis, FailureGroup
from provision.checks.explain.explain import explain
from provision.engine.fleet import Session
from provision.model.errors import ProvisionError

_FOLLOWED = "ping"
"""The check whose packet is followed: where it passes, `explain` finds nothing."""


def with_traces(session: Session, diagnosis: Diagnosis) -> Diagnosis:
    """The diagnosis with what `explain` finds for one pair of each group.

    What a packet has shown comes before what the doctor suspects, and replaces it where both name
    the same kind of cause on the same host. A guess comes last.
    """
    causes = list(dict.fromkeys(_causes(session, diagnosis)))
    shown = [cause for cause in causes if cause.certain]
    guessed = [cause for cause in causes if not cause.certain]
    known = {(cause.host, cause.kind) for cause in shown}
    others = [each for each in diagnosis.causes if (each.host, each.kind) not in known]
    silent = [each for each in others if each.kind == "silent"]
    others = [each for each in others if each.kind != "silent"]
    # Where something else explains the failures, a guess only takes the place of it.
    return replace(diagnosis, causes=(*silent, *shown, *others, *(() if others else guessed)))


def _causes(session: Session, diagnosis: Diagnosis) -> Iterator[DiagnosedCause]:
    for group in diagnosis.groups:
        if _FOLLOWED in group.checks:
            yield from _of_group(session, group)


def _of_group(session: Session, group: FailureGroup) -> Iterator[DiagnosedCause]:
    pair = group.pairs[0]
    source, target = (end.partition("/")[0] for end in (pair.source, pair.target))
    session.say(f"Following a packet from {source} to {target}")
    try:
        cause = explain(session, session.inventory, source, target).cause
    except ProvisionError:
        return  # the results stay what they are
    if cause is not None:
        yield DiagnosedCause(cause.host, cause.text, cause.fix, cause.kind, certain=cause.certain)

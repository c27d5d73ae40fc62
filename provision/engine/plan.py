"""The only place that decides: the difference between two states, its order and its waves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError as GraphCycle
from graphlib import TopologicalSorter
from typing import Literal

from provision.model.errors import CycleError
from provision.resources.base import Ref, Resource, State
from provision.resources.on_hosts import KINDS_ON_HOSTS
from provision.resources.steps import Steps

Verb = Literal["create", "update", "replace", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that differs; `before` is None for create, `after` for delete.

    `adopts`: `before` is there without our mark. `ssh`: the way that SSH takes may be cut.
    """

    ref: Ref
    verb: Verb
    before: Resource | None
    after: Resource | None
    disruption: str | None
    adopts: bool = False
    ssh: bool = False


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something in the way that is not ours, and what it is."""

    ref: Ref
    found: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, in the order in which they are made, and what forbids them."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """The steps of one change, or of one half of a replacement; `removes`: of its first half."""

    change: Change
    steps: Steps
    removes: bool = False

    @property
    def needs(self) -> tuple[Ref, ...]:
        """What the thing that is removed or made stands on."""
        thing = self.change.before if self.removes else self.change.after
        return (*thing.requires(), *thing.after()) if thing else ()


Wave = dict[str, tuple[Operation, ...]]


def plan(found: State, wanted: State, *, foreign: State | None = None) -> Plan:
    """What turns `found` into `wanted`; `foreign` is what stands there without our mark."""
    foreign = foreign or {}
    conflicts = tuple(_conflicts(found, wanted, foreign))
    before = dict(found) | {
        ref: thing for ref, thing in foreign.items() if thing.edits and ref in wanted
    }
    adopted = frozenset(before) - frozenset(found)
    verbs = _verbs(before, wanted, created=adopted)
    changes = {
        ref: _change(ref, verb, before, wanted, adopts=ref in adopted)
        for ref, verb in verbs.items()
    }
    ordered = tuple(changes[ref] for ref in _reported_order(changes))
    return Plan(ordered, conflicts + tuple(_objections(ordered)))


def _conflicts(found: State, wanted: State, foreign: State) -> Iterator[Conflict]:
    for ref, resource in wanted.items():
        thing = foreign.get(ref)
        if thing is not None and ref not in found and not resource.edits:
            yield Conflict(ref, f"{ref.kind} {ref.name} exists and is not ours")


def _objections(changes: Iterable[Change]) -> Iterator[Conflict]:
    for change in changes:
        reason = change.before.blocking_reason(change.after) if change.before else None
        if reason:
            yield Conflict(change.ref, reason)


def _verbs(before: State, wanted: State, *, created: frozenset[Ref]) -> dict[Ref, Verb]:
    verbs: dict[Ref, Verb] = {}
    for ref in sorted({*before, *wanted}):
        verb = _verb(before.get(ref), wanted.get(ref))
        if verb is not None:
            verbs[ref] = verb
    for ref in in_order(wanted):
        # What stands on a re-created resource dies with it (the kernel drops the routes of a
        # bridge, Docker refuses to remove a network that is in use).
        remade = any(
            _remade(verbs.get(need), wanted[need])
            for need in wanted[ref].requires()
            if need in wanted
        )
        if remade and ref in before and verbs.get(ref) in (None, "update") and ref not in created:
            verbs[ref] = "replace"
    return verbs


def _remade(verb: Verb | None, resource: Resource) -> bool:
    # An image that is brought again leaves the containers made of it as they are.
    return verb == "replace" or (verb == "create" and not resource.before_removals)


def _verb(before: Resource | None, after: Resource | None) -> Verb | None:
    if before == after:
        return None
    if before is None:
        return "create"
    if after is None:
        return "delete"
    return "replace" if after.update(before) is None else "update"


SSH_PATH = "the way that SSH takes changes"


def _change(ref: Ref, verb: Verb, before: State, wanted: State, *, adopts: bool) -> Change:
    old, new = before.get(ref), wanted.get(ref)
    subject = new or old
    assert subject is not None
    ssh = subject.touches_ssh(None if subject is old else old)
    disruption = subject.disruption(None if subject is old else old, recreated=verb == "replace")
    said = "; ".join(text for text in (disruption, SSH_PATH if ssh else None) if text)
    return Change(ref, verb, old, new, said or None, adopts, ssh)


def in_order(state: State) -> list[Ref]:
    """References so that each comes after what it requires, follows or watches, otherwise sorted.

    What prepares comes first; it stands on nothing.
    """
    sorter: TopologicalSorter[Ref] = TopologicalSorter()
    for ref in sorted(state, key=_by_name):
        before = (*state[ref].requires(), *state[ref].after())
        sorter.add(ref, *sorted((need for need in before if need in state), key=_by_name))
    try:
        found = tuple(sorter.static_order())
    except GraphCycle as error:
        cycle = " → ".join(str(ref) for ref in error.args[1])
        raise CycleError(f"these need each other: {cycle}") from error
    return sorted(found, key=lambda ref: _turn(state[ref]))


def _by_name(ref: Ref) -> tuple[str, str, str]:
    # The order of a follower's script, which hosts of version 0.1.0 hold, goes by the old names.
    return ref.host, KINDS_ON_HOSTS.get(ref.kind, ref.kind), ref.name


def _turn(resource: Resource) -> tuple[bool, bool, bool]:
    return resource.runs_last, not resource.changes_facts, not resource.before_removals


def _reported_order(changes: dict[Ref, Change]) -> list[Ref]:
    gone = [ref for ref in in_order(_side(changes, "before")) if changes[ref].after is None]
    made = [ref for ref in in_order(_side(changes, "after")) if changes[ref].after is not None]
    return gone[::-1] + made


def _side(changes: dict[Ref, Change], side: Literal["before", "after"]) -> State:
    sides = {ref: getattr(change, side) for ref, change in changes.items()}
    return {ref: resource for ref, resource in sides.items() if resource is not None}


def facts_changing_part(plan: Plan) -> Plan | None:
    """What has to be made before the rest of a plan is more than a guess; None: nothing.

    What stays whatever comes is a part of its own: the undo goes back to how it has left the host.
    """
    first = tuple(change for change in plan.changes if change.after and change.after.changes_facts)
    staying = tuple(change for change in first if change.after and change.after.permanent)
    return Plan(staying or first, ()) if first else None


def is_permanent(plan: Plan) -> bool:
    """Whether nothing of it is ever undone."""
    return all(one.after is not None and one.after.permanent for one in plan.changes)


def operations(plan: Plan, *, txn: str | None = None) -> tuple[Operation, ...]:
    """The plan as steps in order: preparations, then removals, then what is made.

    `txn` names the change in what it only puts aside; without it all that goes is deleted.
    """
    changes = {change.ref: change for change in plan.changes}
    removals = [
        Operation(changes[ref], _removal(changes[ref], txn), removes=True)
        for ref in reversed(in_order(_side(changes, "before")))
        if changes[ref].verb in ("delete", "replace")
    ]
    makes = [
        Operation(changes[ref], _making(changes[ref])) for ref in in_order(_side(changes, "after"))
    ]
    early = [make for make in makes if _prepares(make.change)]
    late = [make for make in makes if not _prepares(make.change)]
    return tuple(early + removals + late)


def _prepares(change: Change) -> bool:
    return change.verb == "create" and change.after is not None and change.after.before_removals


def _removal(change: Change, txn: str | None) -> Steps:
    assert change.before is not None
    return change.before.delete() if txn is None else change.before.stash(txn)


def _making(change: Change) -> Steps:
    assert change.after is not None
    if change.verb == "update":
        assert change.before is not None
        return change.after.update(change.before) or ()
    return change.after.create()


def waves(operations: Iterable[Operation]) -> tuple[Wave, ...]:
    """Operations by wave and host; a new wave starts only where a need crosses hosts."""
    made: dict[Ref, int] = {}
    freed: dict[Ref, int] = {}
    host_level: dict[str, int] = {}
    grouped: dict[int, dict[str, list[Operation]]] = {}
    for operation in operations:
        ref = operation.change.ref
        afar = [need for need in operation.needs if need.host != ref.host]
        ready = [made[need] + 1 for need in afar if need in made]
        earliest = [freed.get(ref, 0)] if operation.removes else ready
        mine = host_level[ref.host] = max([host_level.get(ref.host, 0), *earliest])
        if operation.removes:
            freed |= {need: max(freed.get(need, 0), mine + 1) for need in afar}
        else:
            made[ref] = mine
        grouped.setdefault(mine, {}).setdefault(ref.host, []).append(operation)
    return tuple(
        {host: tuple(found) for host, found in grouped[number].items()}
        for number in sorted(grouped)
    )

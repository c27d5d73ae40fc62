"""The difference between two states, its order and its waves. Pure, and the only place that decides
what changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError as GraphCycle
from graphlib import TopologicalSorter
from typing import Literal

from provision.engine import conflict_commands
from provision.model.errors import CycleError
from provision.resources import ownership
from provision.resources.base import Ref, Resource, State
from provision.resources.on_hosts import KINDS_ON_HOSTS, Mark
from provision.resources.steps import Steps

Verb = Literal["create", "update", "replace", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that differs; `before` is None for create, `after` for delete.

    `adopts`: `before` exists without our mark. `ssh`: the change may cut the path of SSH.
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
    """A reason not to touch `ref`, such as a resource of somebody else in its place.

    `command` shows on the host what is in the way; empty if there is no such command. `hint` is
    what to do about it, if not to remove what is there.
    """

    ref: Ref
    message: str
    command: str = field(default="", compare=False)
    hint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """All changes, in the order in which they are made, and the conflicts that forbid them."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """The steps of one change, or of one half of a replacement; `removes`: of its first half."""

    change: Change
    steps: Steps
    removes: bool = False

    @property
    def resource(self) -> Resource:
        """The resource that the steps remove or make."""
        resource = self.change.before if self.removes else self.change.after
        assert resource is not None
        return resource

    @property
    def needs(self) -> tuple[Ref, ...]:
        """The resources that must exist while the steps run."""
        return (*self.resource.requires(), *self.resource.after())


Wave = dict[str, tuple[Operation, ...]]
"""Operations by host; the hosts of a wave are changed at the same time."""


def plan(current: State, wanted: State, *, foreign: State | None = None) -> Plan:
    """The changes that turn `current` into `wanted`; `foreign`: resources without our mark."""
    foreign = foreign or {}
    conflicts = tuple(_conflicts(current, wanted, foreign))
    before = dict(current) | {
        ref: resource for ref, resource in foreign.items() if resource.edits and ref in wanted
    }
    adopted = frozenset(before) - frozenset(current)
    verbs = _verbs(before, wanted, adopted=adopted)
    changes = {
        ref: _change(ref, verb, before, wanted, adopts=ref in adopted)
        for ref, verb in verbs.items()
    }
    ordered = tuple(changes[ref] for ref in _reported_order(changes))
    return Plan(ordered, conflicts + tuple(_blocked(ordered)))


def _conflicts(current: State, wanted: State, foreign: State) -> Iterator[Conflict]:
    for ref, resource in wanted.items():
        if ref in foreign and ref not in current and not resource.edits:
            command, mark = conflict_commands.of_resource(ref), getattr(foreign[ref], "mark", None)
            if isinstance(mark, Mark) and mark.inventory:
                message = f"{ref.kind} {ref.name} belongs to inventory {mark.inventory}"
                hint = f"choose another name, or destroy it by the file of {mark.inventory}"
                yield Conflict(ref, message, command, hint)
            else:
                yield Conflict(ref, f"{ref.kind} {ref.name} exists outside this inventory", command)


def _blocked(changes: Iterable[Change]) -> Iterator[Conflict]:
    """Changes that would harm resources of others."""
    for change in changes:
        reason = change.before.blocking_reason(change.after) if change.before else None
        if reason:
            assert change.before is not None
            yield Conflict(change.ref, reason, hint=change.before.blocking_hint())


def _verbs(before: State, wanted: State, *, adopted: frozenset[Ref]) -> dict[Ref, Verb]:
    verbs: dict[Ref, Verb] = {}
    for ref in sorted({*before, *wanted}):
        verb = _verb(before.get(ref), wanted.get(ref))
        if verb is not None:
            verbs[ref] = verb
    for ref in in_order(wanted):
        # A resource is lost with the resource that it requires: the kernel drops the routes of a
        # bridge that is deleted, and Docker does not remove a network that containers use.
        recreated = any(
            _is_recreated(verbs.get(need), wanted[need])
            for need in wanted[ref].requires()
            if need in wanted
        )
        kept = ref in before and ref not in adopted and verbs.get(ref) in (None, "update")
        if recreated and kept:
            verbs[ref] = "replace"
    return verbs


def _is_recreated(verb: Verb | None, resource: Resource) -> bool:
    # Containers keep running when the image that they were made of is pulled again.
    return verb == "replace" or (verb == "create" and not resource.before_removals)


def _verb(before: Resource | None, after: Resource | None) -> Verb | None:
    if before == after:
        return None
    if before is None:
        return "create"
    if after is None:
        return "delete"
    return "replace" if after.update(before) is None else "update"


SSH_PATH = "the network path of SSH changes"


def _change(ref: Ref, verb: Verb, before: State, wanted: State, *, adopts: bool) -> Change:
    old, new = before.get(ref), wanted.get(ref)
    subject = new or old
    assert subject is not None
    previous = None if subject is old else old
    ssh = subject.touches_ssh(previous)
    disruption = subject.disruption(previous, recreated=verb == "replace")
    warnings = "; ".join(text for text in (disruption, SSH_PATH if ssh else None) if text)
    return Change(ref, verb, old, new, warnings or None, adopts, ssh)


def in_order(state: State) -> list[Ref]:
    """References so that each comes after those in its `requires()` and `after()`.

    Otherwise they are sorted by name, resources that change the facts of the host and resources
    that are made before removals first, and resources that run last at the end.
    """
    # TopologicalSorter goes by the order of insertion: sorted names give every run one order.
    sorter: TopologicalSorter[Ref] = TopologicalSorter()
    for ref in sorted(state, key=_by_name):
        before = (*state[ref].requires(), *state[ref].after())
        sorter.add(ref, *sorted((need for need in before if need in state), key=_by_name))
    try:
        order = tuple(sorter.static_order())
    except GraphCycle as error:
        cycle = " → ".join(str(ref) for ref in error.args[1])
        raise CycleError(f"these resources require each other: {cycle}") from error
    return sorted(order, key=lambda ref: _phase(state[ref]))


def _by_name(ref: Ref) -> tuple[str, str, str]:
    # The follower's script on hosts of version 0.1.0 is sorted by the names of kinds of that time;
    # another order would be another script, and every host would differ.
    return ref.host, KINDS_ON_HOSTS.get(ref.kind, ref.kind), ref.name


def _phase(resource: Resource) -> tuple[bool, bool, bool]:
    return resource.runs_last, not resource.changes_facts, not resource.before_removals


def _reported_order(changes: dict[Ref, Change]) -> list[Ref]:
    deleted = [ref for ref in in_order(_side(changes, "before")) if changes[ref].after is None]
    made = [ref for ref in in_order(_side(changes, "after")) if changes[ref].after is not None]
    return deleted[::-1] + made


def _side(changes: dict[Ref, Change], side: Literal["before", "after"]) -> State:
    sides = {ref: getattr(change, side) for ref, change in changes.items()}
    return {ref: resource for ref, resource in sides.items() if resource is not None}


def facts_changing_part(plan: Plan) -> Plan | None:
    """The changes that have to be made before the rest can be planned reliably; None: no such.

    Installing Docker is one: only then the host tells its networks. Permanent resources form a part
    of their own, because a rollback goes back to the host as they have left it.
    """
    first = tuple(change for change in plan.changes if change.after and change.after.changes_facts)
    permanent = tuple(change for change in first if change.after and change.after.permanent)
    return Plan(permanent or first, ()) if first else None


def is_permanent(plan: Plan) -> bool:
    """Return True if no change of the plan is ever rolled back."""
    return all(change.after is not None and change.after.permanent for change in plan.changes)


def operations(plan: Plan, *, txn: str | None = None) -> tuple[Operation, ...]:
    """The plan as steps in order: preparations, then removals, then creations and updates.

    With `txn`, the id of a transaction, removed resources are stashed under it where their kind
    can; otherwise they are deleted.
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
    early = [make for make in makes if _is_preparation(make.change)]
    late = [make for make in makes if not _is_preparation(make.change)]
    return tuple(early + removals + late)


def _is_preparation(change: Change) -> bool:
    return change.verb == "create" and change.after is not None and change.after.before_removals


def _removal(change: Change, txn: str | None) -> Steps:
    assert change.before is not None
    steps = change.before.delete() if txn is None else change.before.stash(txn)
    return ownership.unless_foreign(steps, change.before)


def _making(change: Change) -> Steps:
    assert change.after is not None
    if change.verb == "update":
        assert change.before is not None
        subject = change.after.subject(change.before)
        return ownership.guarded(subject, change.after.update(change.before) or ())
    return ownership.guarded(change.after, change.after.create())


def waves(operations: Iterable[Operation]) -> tuple[Wave, ...]:
    """Operations by wave and host; a new wave starts only where a need crosses hosts."""
    made: dict[Ref, int] = {}
    freed: dict[Ref, int] = {}
    host_level: dict[str, int] = {}
    grouped: dict[int, dict[str, list[Operation]]] = {}
    # Operations of one host keep their order, so an operation is at least on the level of the one
    # before it there.
    for operation in operations:
        ref = operation.change.ref
        remote = [need for need in operation.needs if need.host != ref.host]
        ready = [made[need] + 1 for need in remote if need in made]
        earliest = [freed.get(ref, 0)] if operation.removes else ready
        level = host_level[ref.host] = max([host_level.get(ref.host, 0), *earliest])
        if operation.removes:
            freed |= {need: max(freed.get(need, 0), level + 1) for need in remote}
        else:
            made[ref] = level
        grouped.setdefault(level, {}).setdefault(ref.host, []).append(operation)
    return tuple(
        {host: tuple(by_host) for host, by_host in grouped[level].items()}
        for level in sorted(grouped)
    )

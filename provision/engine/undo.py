"""What takes a change back, or ends it: rendered before the change is made. Pure.

The undo of operations is the inverse of each in reverse order, each correct from any point of its
operation; the host runs those of the operations that had begun. A host needs no planner.
"""

from __future__ import annotations

from collections.abc import Sequence

from provision.engine.plan import Operation
from provision.resources import script
from provision.resources.base import Ref, Resource
from provision.resources.steps import Steps, remove_file


def inverse(operation: Operation, *, txn: str) -> Steps:
    """Steps back to before one operation of the change `txn`, however far it went."""
    change = operation.change
    if operation.removes:
        assert change.before is not None
        return change.before.unstash(txn)
    assert change.after is not None
    # The second half of a replacement began when nothing was there.
    before = None if change.verb == "replace" else change.before
    return change.after.undo(before, ours=not change.adopts)


def order(operations: Sequence[Operation]) -> tuple[int, ...]:
    """Which operation's undo comes first: what touches SSH, then what the kernel drops at once, so
    that a way out is not kept by programs that hang; in each of these the last that was made."""
    ssh = _urgent(operations)
    needed = {ref for operation in operations if not _watches(operation) for ref in operation.needs}
    quick = {n for n, one in enumerate(operations) if _quick(one) and one.change.ref not in needed}
    last_first = range(len(operations) - 1, -1, -1)
    return tuple(sorted(last_first, key=lambda n: (n not in ssh, n not in quick)))


def _urgent(operations: Sequence[Operation]) -> set[int]:
    """What touches SSH, and what has to be undone before that: what was made on it or holds the
    same interface, what it stood on where that was taken away or made anew, and the tools that were
    taken away after it. What only Docker takes off a bridge is not waited for."""
    docker = {operation.change.ref for operation in operations if _thing(operation).uses_dockerd}
    found: set[int] = set()
    refs: set[Ref] = set()
    links: set[tuple[str, str]] = set()
    for number, operation in enumerate(operations):
        ref, thing = operation.change.ref, _thing(operation)
        mine = {(ref.host, link) for link in thing.links()}
        below = refs & docker if thing.uses_dockerd else refs
        above = not operation.removes and not _watches(operation) and below & set(operation.needs)
        tool = (
            operation.removes and thing.changes_facts and any(one.host == ref.host for one in refs)
        )
        if operation.change.ssh or ref in refs or links & mine or above or tool:
            found.add(number)
            refs |= {ref, *operation.needs} if operation.removes else {ref}
            links |= mine
    return found


def _thing(operation: Operation) -> Resource:
    thing = operation.change.before if operation.removes else operation.change.after
    assert thing is not None
    return thing


def _watches(operation: Operation) -> bool:
    # What it watches can go before it: it is held as long as the undo takes.
    return operation.change.after is not None and operation.change.after.runs_last


def _quick(operation: Operation) -> bool:
    """Whether its undo only deletes something of the kernel's."""
    made = operation.change.after
    new = operation.change.verb == "create" and not operation.change.adopts
    return new and made is not None and made.volatile


def undo(operations: Sequence[Operation], *, txn: str) -> str:
    """A script: `list` prints the steps' names in their order, `early` those that only write files;
    a name takes that step back. The step `always` is due even if nothing had begun."""
    steps = {str(number): inverse(operations[number], txn=txn) for number in order(operations)}
    every = tuple(step for operation in operations for step in operation.steps)
    steps["always"] = tuple(
        step for upload in script.uploads(every) for step in remove_file(upload.target)
    )
    early = [name for name in steps if name.isdigit() and _on_disk(operations[int(name)])]
    return script.cases({"list": list(steps), "early": early}, steps)


def _on_disk(operation: Operation) -> bool:
    return _thing(operation).on_disk


def drop_stash(operations: Sequence[Operation], *, txn: str) -> str:
    """A script that ends what the change has put aside, once it is confirmed."""
    return script.standalone(
        [
            steps
            for operation in operations
            if operation.removes and operation.change.before is not None
            if (steps := operation.change.before.drop_stash(txn))
        ]
    )

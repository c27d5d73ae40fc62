"""What takes a change back, or ends it: rendered before the change is made. Pure.

The undo of operations is the inverse of each in reverse order, each correct from any point of its
operation; the host runs those of the operations that had begun. A host needs no planner.
"""

from __future__ import annotations

from collections.abc import Sequence

from provision import script
from provision.plan import Operation
from provision.resource import Steps, forget


def inverse(operation: Operation, *, txn: str) -> Steps:
    """Steps back to before one operation of the change `txn`, however far it went."""
    change = operation.change
    if operation.removes:
        assert change.before is not None
        return change.before.restore(txn)
    assert change.after is not None
    # The second half of a replacement began when nothing was there.
    before = None if change.verb == "replace" else change.before
    return change.after.undo(before, ours=not change.adopts)


def order(operations: Sequence[Operation]) -> tuple[int, ...]:
    """Which operation's undo comes first: what touches SSH, then the last that was made."""
    last_first = range(len(operations) - 1, -1, -1)
    return tuple(sorted(last_first, key=lambda number: not operations[number].change.ssh))


def undo(operations: Sequence[Operation], *, txn: str) -> str:
    """A script: `list` prints the steps' names in their order, `early` those that only write files;
    a name takes that step back. The step `always` is due even if nothing had begun."""
    steps = {str(number): inverse(operations[number], txn=txn) for number in order(operations)}
    every = tuple(step for operation in operations for step in operation.steps)
    steps["always"] = tuple(
        step for upload in script.uploads(every) for step in forget(upload.target)
    )
    early = [name for name in steps if name.isdigit() and _on_disk(operations[int(name)])]
    return script.cases({"list": list(steps), "early": early}, steps)


def _on_disk(operation: Operation) -> bool:
    thing = operation.change.before if operation.removes else operation.change.after
    return thing is not None and thing.on_disk


def discard(operations: Sequence[Operation], *, txn: str) -> str:
    """A script that ends what the change has put aside, once it is confirmed."""
    return script.standalone(
        [
            steps
            for operation in operations
            if operation.removes and operation.change.before is not None
            if (steps := operation.change.before.discard(txn))
        ]
    )

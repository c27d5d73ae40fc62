"""The scripts that roll a change back, or end it: rendered before the change is made. Pure.

The rollback of a change is the inverse of each operation in reverse order. Each inverse is correct
from any point of its operation, and the host runs those of the operations that had begun. A host
needs no planner.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from provision.engine.plan import Operation
from provision.engine.undo_order import order
from provision.resources import ownership, script
from provision.resources.script import ReplacementHalf
from provision.resources.steps import Run, Steps, partial_path, remove_file


def inverse(operation: Operation, *, txn: str) -> Steps:
    """Steps back to before one operation of the change `txn`, however far it went."""
    return (*_without_partials(operation), *_inverse(operation, txn))


def _inverse(operation: Operation, txn: str) -> Steps:
    change = operation.change
    if operation.removes:
        steps = operation.resource.unstash(txn)
        if operation.resource.leaves_foreign:
            return steps
        return ownership.guarded(operation.resource, steps)
    # The second half of a replacement began when its resource did not exist.
    before = None if change.verb == "replace" else change.before
    steps = operation.resource.undo(before, ours=not change.adopts)
    expected = tuple(resource for resource in (operation.resource, before) if resource)
    return ownership.unless_foreign(steps, *expected)


def undo(operations: Sequence[Operation], *, txn: str) -> str:
    """A script of one case per operation, named by its number, that rolls this operation back.

    `list` prints the names in the order of the rollback, `early` those that only write files. The
    case `always` is due even if no operation had begun.
    """
    steps: dict[str, Steps | ReplacementHalf] = {
        str(number): _case(operations[number], txn) for number in order(operations)
    }
    every = tuple(step for operation in operations for step in operation.steps)
    steps["always"] = tuple(
        step for upload in script.uploads(every) for step in _without_upload(upload.target)
    )
    # After a reboot the host rolls files back before its network starts, so that the network's
    # services read the old ones; everything else needs those services.
    early = [name for name in steps if name.isdigit() and operations[int(name)].resource.on_disk]
    return script.cases({"list": list(steps), "early": early}, steps)


def _case(operation: Operation, txn: str) -> Steps | ReplacementHalf:
    """The inverse of an operation, as it may be repeated where a first rollback was not enough.

    The successor of a replacement is deleted once: after that, its name is that of its predecessor,
    which may be the only one there is. What has no stash can be made once more, and what the change
    made may come back by the follower: both halves must have succeeded there.
    """
    steps = inverse(operation, txn=txn)
    if operation.change.verb != "replace":
        return steps
    ref = operation.change.ref
    digest = sha256(f"{ref.kind} {ref.name}".encode()).hexdigest()[:16]
    deleted, restored = f"deleted.{digest}", f"restored.{digest}"
    if operation.removes:
        return ReplacementHalf(steps, restored)
    has_stash = operation.resource.stash(txn) != operation.resource.delete()
    return ReplacementHalf(steps, deleted, (deleted,) if has_stash else (deleted, restored))


def _without_partials(operation: Operation) -> Steps:
    # A power cut in the midst of a `Put` leaves the file under its other name.
    partials = [partial_path(path) for path in script.written_files(operation.steps)]
    return (Run(("rm", "-f", "--", *partials)),) if partials else ()


def _without_upload(target: str) -> Steps:
    # A connection that was lost in the midst leaves the part that has arrived.
    return (Run(("rm", "-f", "--", f"{target}.part")), *remove_file(target))


def drop_stash(operations: Sequence[Operation], *, txn: str) -> str:
    """A script that deletes the stash of the change, once it is confirmed."""
    return script.standalone(
        [
            steps
            for operation in operations
            if operation.removes and (steps := operation.resource.drop_stash(txn))
        ]
    )

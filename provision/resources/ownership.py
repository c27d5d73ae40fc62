"""Steps that touch a resource only where the host has nothing of others in its place. Pure.

A snapshot is seconds old when its plan is carried out. Meanwhile somebody may have made something
of the same name, so the host tests the mark again, in the script of the steps.
"""

from __future__ import annotations

from provision.resources.base import Resource
from provision.resources.script import quoted
from provision.resources.steps import Refuse, Run, Steps, Unless, sh


def guarded(resource: Resource, steps: Steps) -> Steps:
    """`steps` that fail before they change anything if something of others is in the place."""
    test = resource.is_foreign()
    message = f"{resource.kind} {resource.name} exists outside this inventory"
    message = "" if resource.leaves_foreign else message
    return steps if test is None or not steps else (Refuse(test, message), *steps)


def unless_foreign(steps: Steps, *resources: Resource) -> Steps:
    """`steps` that are left out if the place has something that is none of `resources`.

    Several resources: a rollback meets the one before the change, or the one after it.
    """
    if any(resource.leaves_foreign for resource in resources):
        return steps
    tests = tuple(dict.fromkeys(resource.is_foreign() for resource in resources))
    known = [test for test in tests if test is not None]
    if not steps or len(known) < len(tests):
        return steps
    kind, name = resources[0].kind, resources[0].name
    note = f"{kind} {name} was left: it is not of this inventory"
    return (Unless(_all(known), steps, note=note),)


def _all(tests: list[Run]) -> Run:
    """A test that succeeds if all `tests` do."""
    if len(tests) == 1:
        return tests[0]
    return sh(" && ".join(quoted(test.argv) for test in tests))


def any_of(*tests: Run) -> Run:
    """A test that succeeds if one of `tests` does."""
    return sh(" || ".join(quoted(test.argv) for test in tests))

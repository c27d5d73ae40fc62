"""The order in which a host rolls back the operations of a change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from provision.engine.plan import Operation
from provision.resources.base import Ref, Resource


def order(operations: Sequence[Operation]) -> tuple[int, ...]:
    """The numbers of `operations`, in the order in which they are rolled back.

    (1) operations on the SSH path, (2) kernel objects that are deleted instantly, (3) settings that
    were changed in place, (4) everything else. So a program that hangs cannot block the way back
    in, and daemons that are started again read their old settings. Within each group: last created
    first.
    """
    ssh_path = _on_ssh_path(operations)
    needed = {
        ref for operation in operations if not _runs_last(operation) for ref in operation.needs
    }
    instant = {
        number
        for number, operation in enumerate(operations)
        if _is_deleted_instantly(operation) and operation.change.ref not in needed
    }
    settings = {
        number
        for number, operation in enumerate(operations)
        if operation.change.verb == "update" and _is_read_at_start(operation.resource)
    }
    last_first = range(len(operations) - 1, -1, -1)
    groups = (ssh_path, instant, settings)
    return tuple(sorted(last_first, key=lambda number: [number not in group for group in groups]))


def _on_ssh_path(operations: Sequence[Operation]) -> set[int]:
    """Operations that affect the SSH path, plus those that must be rolled back before them."""
    path = _SshPath(
        {operation.change.ref for operation in operations if operation.resource.uses_dockerd}
    )
    numbers = set()
    for number, operation in enumerate(operations):
        if path.includes(operation):
            path.add(operation)
            numbers.add(number)
    return numbers


@dataclass
class _SshPath:
    """The resources and interfaces of the SSH path, collected in the order of the operations."""

    docker: set[Ref]
    refs: set[Ref] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    interfaces: set[tuple[str, str]] = field(default_factory=set)

    def includes(self, operation: Operation) -> bool:
        """Return True for an operation on the path, or one to be rolled back before it."""
        return (
            operation.change.ssh
            or operation.change.ref in self.refs
            or bool(self.interfaces & _interfaces(operation))
            or self._carries(operation)
            or self._removes_tool(operation)
        )

    def add(self, operation: Operation) -> None:
        """Extend the path by an operation.

        A removed resource needs its dependencies back first: they belong to the path, too.
        """
        refs = {operation.change.ref, *(operation.needs if operation.removes else ())}
        self.refs |= refs
        self.hosts |= {ref.host for ref in refs}
        self.interfaces |= _interfaces(operation)

    def _carries(self, operation: Operation) -> bool:
        """Return True if the resource is made on top of one of the path."""
        if operation.removes or _runs_last(operation):
            return False
        # Only Docker takes a container off a bridge, and dockerd may hang: do not wait for it.
        below = self.refs & self.docker if operation.resource.uses_dockerd else self.refs
        return not below.isdisjoint(operation.needs)

    def _removes_tool(self, operation: Operation) -> bool:
        """Return True if a tool is uninstalled from a host of the path, after the path changed."""
        uninstalls = operation.removes and operation.resource.changes_facts
        return uninstalls and operation.change.ref.host in self.hosts


def _interfaces(operation: Operation) -> set[tuple[str, str]]:
    host = operation.change.ref.host
    return {(host, interface) for interface in operation.resource.links()}


def _is_read_at_start(resource: Resource) -> bool:
    return resource.on_disk or resource.read_at_start


def _runs_last(operation: Operation) -> bool:
    # Such as the follower: the host stops it for the whole rollback, so what it watches can go.
    return operation.change.after is not None and operation.change.after.runs_last


def _is_deleted_instantly(operation: Operation) -> bool:
    """Return True if the rollback only deletes an object of the kernel."""
    made = operation.change.after
    new = operation.change.verb == "create" and not operation.change.adopts
    return new and made is not None and made.volatile

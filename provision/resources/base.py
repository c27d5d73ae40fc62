"""A resource: one small frozen value that a host holds, and the steps that make or remove it.

Each kind of resource is one module in `resources/kinds/`; this module defines what they share.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network
from typing import ClassVar, NamedTuple

from provision.resources.joint import JointChange
from provision.resources.steps import Run, Steps

ABSENT = "@absent"
"""Printed by a probe when the tool that it asks is not installed on the host."""


SECRET_PAIRS = {"secret pairs": True}
"""Metadata of a field with pairs of a name and a value: plans print the names alone."""


class Ref(NamedTuple):
    """The identity of a resource: one per host, kind and name."""

    host: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}: {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Origin:
    """The host and the inventory that a probe's output belongs to.

    `networks` are names and ranges of the inventory's networks. By them a kind knows a resource
    that has lost its mark: by a name that only provision gives, or by an address.
    """

    host: str
    inventory: str
    networks: tuple[tuple[str, IPv4Network], ...] = ()


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource on one host. Two equal values need no change: equality is the diff.

    Fields that say how to restore or replace a resource, but not what the inventory asks for, take
    no part in equality (`field(compare=False)`).
    """

    kind: ClassVar[str]
    """The name of the kind in plans, refs and unit files."""
    volatile: ClassVar[bool] = False
    """The kernel forgets it at reboot; the follower then repeats every step of `restore`."""
    edits: ClassVar[bool] = False
    """Changes a setting that provision did not create, so an unmarked one is not a conflict."""
    before_removals: ClassVar[bool] = False
    """Created before anything is deleted, so that a failure costs nothing (an image pull)."""
    takes_long: ClassVar[bool] = False
    """Its steps may take minutes (a download), so the host waits for `--timeout` with them."""
    runs_last: ClassVar[bool] = False
    """Maintains other resources: created after them, deleted before them."""
    read_at_start: ClassVar[bool] = False
    """Like files (`on_disk`), daemons read it as they start: a rollback brings it back before."""
    for_all_hosts: ClassVar[bool] = False
    """One host has it for all: with a change of another host, it may become a resource of this one.

    Later groups of hosts are read again before they are changed.
    """
    changes_facts: ClassVar[bool] = False
    """Creating it changes the facts of the host (e.g. installing Docker).

    Apply it first, gather facts again, then plan the rest.
    """
    permanent: ClassVar[bool] = False
    """Neither rolled back nor deleted: an installed package."""
    uses_dockerd: ClassVar[bool] = False
    """The steps call Docker's daemon, which may hang."""
    leaves_foreign: ClassVar[bool] = False
    """Its steps leave out what is of others: a table, of which only some rows may be.

    `is_foreign` then prints a message for each of these.
    """
    on_disk: ClassVar[bool] = False
    """The steps only write files: after a reboot they are rolled back before the network starts."""
    probe: ClassVar[str]
    """POSIX sh that prints what `parse` reads.

    `$name` is the inventory's name. Available are `need COMMAND`, `need_docker`, `need_ovs`,
    `files PATH…` (mode, base64 text and path of each), `flows SOCKET…` (of bridges of Open vSwitch)
    and `shared KEY…` (answers that several kinds read, asked for once);
    `templates/look/prelude.sh` defines them.
    """
    only_where: ClassVar[tuple[str, ...]] = ()
    """The probe runs only where one of these exists: paths as words of sh, with `$name` and `*`.

    Empty: on every host. A host without anything of the kind then costs no process.
    """
    fingerprint: ClassVar[str]
    """POSIX sh that prints a stable fingerprint of everything of this kind that provision manages
    on the host, for all inventories.

    Leave out counters, PIDs, timestamps and random values: the host compares the text before a
    change with the text after its rollback. Available are `need COMMAND`, `need_docker` and
    `need_ovs`; `templates/guard/fingerprint.sh` defines them. Objects that are absent print
    nothing. `:` where the kind keeps nothing.
    """

    host: str

    @property
    def name(self) -> str:
        """The name of the resource, unique for its kind on its host."""
        raise NotImplementedError

    @property
    def ref(self) -> Ref:
        """The identity of the resource."""
        return Ref(self.host, self.kind, self.name)

    def requires(self) -> tuple[Ref, ...]:
        """Resources to create before it; when one is re-created, this one is re-created, too."""
        return ()

    def after(self) -> tuple[Ref, ...]:
        """Resources to create before it, but which can be re-created without it."""
        return ()

    def names(self) -> tuple[str, ...]:
        """Interfaces, and absolute paths of files, that `create` makes under these names.

        Only those that could belong to others: not the files in provision's own folders, nor what
        `parse` returns as a resource of others.
        """
        return ()

    def is_followed(self) -> bool:
        """True if the follower repeats every step of `restore`."""
        return self.volatile

    def links(self) -> tuple[str, ...]:
        """Interfaces of the host at whose changes the kernel may forget the resource."""
        return ()

    def followed_links(self) -> tuple[str, ...]:
        """Interfaces of the host at whose changes the follower acts."""
        return self.links()

    def touches_ssh(self, current: Resource | None) -> bool:  # noqa: ARG002
        """Return True if changing `current` into this may cut the host's SSH path.

        For a removal the planner asks the current resource itself, with None.
        """
        return False

    def is_foreign(self) -> Run | None:
        """A test on the host that succeeds if something of others has the place of the resource.

        The engine runs it in the same script, right before the steps: creations and updates are
        refused then, removals and rollbacks are left out. A part of the resource that an
        interrupted run left, or that has lost its mark, is not foreign. None if the steps check the
        mark themselves, or nothing of others can have this place.
        """
        raise NotImplementedError

    def subject(self, current: Resource) -> Resource:
        """The resource whose `is_foreign` is tested before an update of `current` to this."""
        return current

    def create(self) -> Steps:
        """Steps from nothing, or from any part of the resource, to all of it. Repeatable."""
        raise NotImplementedError

    def restore(self) -> Steps:
        """Steps with which the follower brings back what the kernel has forgotten. Repeatable.

        By default those of `create`. A kind whose files survive the reboot leaves out their
        content, which the follower's script then does not repeat.
        """
        return self.create()

    def delete(self) -> Steps:
        """Steps from the resource, or any part of it, to nothing or to the original value.

        They also succeed where nothing of the resource is left.
        """
        raise NotImplementedError

    def stash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps that move the resource out of the way so that `unstash` can bring it back.

        `txn` is the id of the transaction. By default the resource is deleted; a kind overrides
        this if `create` cannot restore it as it was (a container's files, an image).
        """
        return self.delete()

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps back to this resource from any point of `stash`, after its successor is deleted."""
        return self.create()

    def drop_stash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps that delete what `stash` kept, once the transaction is confirmed."""
        return ()

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        """Steps back to `before` from any point between it and this resource.

        `ours` is False if `before` did not carry the inventory's mark.
        """
        if before is None:
            return self.delete()
        return before.update(self) or (*self.delete(), *before.create())

    def update(self, current: Resource) -> Steps | None:  # noqa: ARG002
        """Steps from `current` to this in place; None: it must be deleted and created again."""
        return None

    def disruption(self, current: Resource | None, *, recreated: bool) -> str | None:  # noqa: ARG002
        """Describe what stops working for a while when `current` becomes this; None: nothing.

        `recreated` is True if the resource is deleted and created again, be it only because a
        resource that it requires is.
        """
        return None

    def joint_change(self, current: Resource) -> JointChange | None:  # noqa: ARG002
        """The hosts that must all keep the change of `current` into this, or none of them.

        None: each host may change without the others.
        """
        return None

    def drift_cause(self) -> str:
        """The cause of a change since the resource was applied; empty if its name says enough."""
        return ""

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        """The reason why this current resource must not become `after` (None: be deleted).

        For changes that would harm what belongs to others; None if there is no such reason.
        """
        return None

    def blocking_hint(self) -> str:
        """The command or change that ends `blocking_reason`; empty if there is none to name."""
        return ""

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        """Read what `probe` printed on one host. Raises ValueError if it cannot be read."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Found:
    """A resource that a host holds; `ours` is True if it carries the inventory's mark."""

    resource: Resource
    ours: bool


State = Mapping[Ref, Resource]


def state(resources: Iterable[Resource]) -> State:
    """Map resources by identity. Raises ValueError if two different ones have the same."""
    result: dict[Ref, Resource] = {}
    for resource in resources:
        known = result.setdefault(resource.ref, resource)
        if known is not resource and known != resource:
            raise ValueError(f"two different resources are called {resource.ref}")
    return result


def keyed_lines(text: str) -> list[tuple[str, str]]:
    """Split each line of a probe's output into its first word and the rest."""
    return [(key, rest) for key, _, rest in (line.partition(" ") for line in text.splitlines())]


def is_rebuilt(current: Resource, after: Resource | None) -> bool:
    """Return True if `current` is deleted on the way to `after`."""
    return after is None or after.update(current) is None


def secret_fields(kind: type[Resource]) -> list[str]:
    """The names of the fields of a kind whose values no plan and no message shows."""
    return [field.name for field in fields(kind) if field.metadata == SECRET_PAIRS]

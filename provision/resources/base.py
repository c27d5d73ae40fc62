"""What a host can be made to hold: small frozen values, and the steps that make or remove them.

Pure. A kind of resource is one module in `resources/`; this room defines what all of them share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

ETC = "/etc/provision"
WAS = "/var/lib/provision/was"
ABSENT = "@absent"
"""What a probe prints when the tool that it asks is not on the host."""


KINDS_ON_HOSTS = {
    "arp_ignore": "mute",
    "binary": "program",
    "iptables_chain": "chain",
    "lan_bridge": "bridge",
    "lan_bridge_ovs": "switch",
    "nic_drop_rule": "seal",
    "ovs_uplink": "underlay",
    "ovs_veth": "joint",
    "systemd_unit": "unit",
}
"""Kinds that had another name in version 0.1.0, which unit files on hosts still hold.

The files keep that name, so that hosts of 0.1.0 are seen as unchanged.
"""


class Ref(NamedTuple):
    """The identity of a resource: one per host, kind and name."""

    host: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}: {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """A command as an argument vector, quoted once by `script`; `stdin` is fed to it."""

    argv: tuple[str, ...]
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """A file with exactly this text and mode, replaced atomically."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Unless:
    """Steps to take unless `test` succeeds (or, with `prints`, unless it prints something)."""

    test: Run
    steps: tuple[Step, ...]
    prints: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """Steps of which a failure is answered by `undo`, and is a failure still."""

    steps: tuple[Step, ...]
    undo: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of the controller that must lie at `target` before the script of its wave runs."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class Issue:
    """A certificate that the controller signs: `target`.crt and `target`.issued on the host.

    `request` is PEM, `signer` where the authority's key and certificate are (`.key`, `.crt`),
    `trusted` the authority's certificate that hosts have by now (empty: none), which also goes to
    `authority`. `record` is a JSON object to which the certificate's sha256 is added.
    """

    request: str
    signer: Path
    trusted: str
    subject: str
    addresses: tuple[str, ...]
    server: bool
    days: int
    target: str
    authority: str
    record: str


Step = Run | Put | Unless | Attempt | Upload | Issue
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose eyes a probe's output is read with: one host, one inventory."""

    host: str
    inventory: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing on one host. Equality of two values is the whole difference between them.

    Fields that say how to restore or replace, but not what was asked for, take no part in it
    (`field(compare=False)`).
    """

    kind: ClassVar[str]
    volatile: ClassVar[bool] = False
    """The kernel forgets it at reboot; then every step of `create` can be repeated."""
    edits: ClassVar[bool] = False
    """It changes something that it did not make: what is found without our mark is no conflict."""
    before_removals: ClassVar[bool] = False
    """It is made before anything is deleted, so that a failure costs nothing (an image pull)."""
    runs_last: ClassVar[bool] = False
    """It keeps others as they are: made after them, and removed before them."""
    changes_facts: ClassVar[bool] = False
    """What can be seen of its host changes with it: all else there waits for another look."""
    permanent: ClassVar[bool] = False
    """It is not undone and not deleted: what is installed."""
    by_docker: ClassVar[bool] = False
    """Its steps need Docker's daemon, which may hang."""
    on_disk: ClassVar[bool] = False
    """Its steps only write files: after a reboot they are undone before the network starts."""
    probe: ClassVar[str]
    """POSIX sh that prints what `parse` reads; `$name` is the inventory's name."""
    fingerprint: ClassVar[str]
    """POSIX sh that prints, of all that this kind ever made on a host, what stays the same as long
    as nobody changes it: no counter, process, time or drawn number. The host compares it before a
    change and after its undo. Absent tools and things print nothing. `:` where nothing is kept."""

    host: str

    @property
    def name(self) -> str:
        """Its name, unique for its kind on its host."""
        raise NotImplementedError

    @property
    def ref(self) -> Ref:
        """Its identity."""
        return Ref(self.host, self.kind, self.name)

    def requires(self) -> tuple[Ref, ...]:
        """What it stands on: made before it, and re-creating that re-creates it."""
        return ()

    def after(self) -> tuple[Ref, ...]:
        """What is made before it, too, but can be made again without it."""
        return ()

    def links(self) -> tuple[str, ...]:
        """Interfaces of the host whose changes make the kernel forget it."""
        return ()

    def touches_ssh(self, found: Resource | None) -> bool:  # noqa: ARG002
        """Whether becoming this from `found` may cut the way that SSH takes.

        Asked of the found one itself when it is removed. Such a change is looked at twice.
        """
        return False

    def create(self) -> Steps:
        """Steps to this from nothing, or from any part of this: they can be repeated."""
        raise NotImplementedError

    def delete(self) -> Steps:
        """Steps to nothing, or to what was there before us, from this or any part of it.

        They succeed, too, where nothing of it is left.
        """
        raise NotImplementedError

    def stash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps that take this out of the way in the change `txn`, so that `restore` has it back.

        For what cannot be made again as it was: a container's files, an image.
        """
        return self.delete()

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps back to this from any point of `retire`; its successor is gone by then."""
        return self.create()

    def drop_stash(self, txn: str) -> Steps:  # noqa: ARG002
        """Steps that end what `retire` has kept, once the change is confirmed."""
        return ()

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:  # noqa: ARG002
        """Steps back to `before` from any point of the way to this.

        `ours` is False where `before` had been there without our mark.
        """
        if before is None:
            return self.delete()
        return before.update(self) or (*self.delete(), *before.create())

    def update(self, found: Resource) -> Steps | None:  # noqa: ARG002
        """Steps from `found` to this in place; None: it must be deleted and created."""
        return None

    def disruption(self, found: Resource | None, *, anew: bool) -> str | None:  # noqa: ARG002
        """What stops working for a while when `found` is turned into this; None: nothing.

        `anew`: it is deleted and created again, be it only for what it stands on.
        """
        return None

    def blocking_reason(self, after: Resource | None) -> str | None:  # noqa: ARG002
        """Why this found one must not become `after` (None: be deleted): harm to others' things."""
        return None

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        """Read what `probe` printed on one host. Raises ValueError on what it cannot read."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as found, and whether it carries this inventory's mark."""

    resource: Resource
    ours: bool


State = Mapping[Ref, Resource]


def state(resources: Iterable[Resource]) -> State:
    """The mapping of these resources by identity. Raises ValueError on two with one identity."""
    result: dict[Ref, Resource] = {}
    for resource in resources:
        known = result.setdefault(resource.ref, resource)
        if known != resource:
            raise ValueError(f"two different resources are called {resource.ref}")
    return result


def lock(inventory: str) -> str:
    """The file that is locked while something of this inventory changes on a host."""
    return f"/run/provision-{inventory}.lock"


def remember(path: str, text: str) -> Unless:
    """Record a first value, once: what a destroy aims at."""
    return Unless(Run(("test", "-e", path)), (Put(path, text, 0o600),))


def forget(path: str) -> Steps:
    """Remove a file below our own folders, and the folders that it leaves empty."""
    parent = path.rsplit("/", 1)[0]
    return (
        Run(("rm", "-f", "--", path, unfinished(path))),
        Unless(Run(("test", "!", "-d", parent)), (Run(_rmdir(parent)),)),
    )


def unfinished(path: str) -> str:
    """Where a file is written before it takes its name; no `*` of a shell matches it."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.provision-new"


def rebuilt(found: Resource, after: Resource | None) -> bool:
    """Whether becoming `after` means that `found` is deleted."""
    return after is None or after.update(found) is None


def _rmdir(folder: str) -> tuple[str, ...]:
    # `rmdir -p` stops at the first folder that holds something; /etc and /var/lib always do.
    return ("rmdir", "-p", "--ignore-fail-on-non-empty", "--", folder)

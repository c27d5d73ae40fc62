"""Kind `sysctl`: a kernel setting.

The last inventory that has changed it restores its original value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.on_hosts import ORIGINALS
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Unless, record_once, remove_file, sh

IP_FORWARD = "net.ipv4.ip_forward"
KEYS = (IP_FORWARD,)
"""The settings that the probe always reads; besides these, it reads `forwarding_key` of interfaces
that do not forward."""


def forwarding_key(interface: str) -> str:
    """The setting by which the kernel forwards what comes in on an interface.

    sysctl.conf(5): a `.` in the name of an interface is written as `/`.
    """
    return f"net.ipv4.conf.{interface.replace('.', '/')}.forwarding"


def _path(key: str) -> str:
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))


_HAS_NONE_OF = """
key=$1; shift
for value; do [ "$(sysctl -n "$key")" != "$value" ] || exit 1; done
"""


@dataclass(frozen=True, slots=True)
class Sysctl(Resource):
    """The setting `key` with the value `value`.

    `original` is the value before any inventory changed it. `has_other_users` is True if another
    inventory has changed it as well. `claimed` is False if only others have a record: each user
    needs its own, so that the last one knows that it is the last.

    An inventory that finds the value as it wants it has no record, only the step in its
    volatile.sh. If a person changes the setting later, and the next apply repairs it, the value of
    that step is the original one.

    The keys of interfaces are of the same kind. What sets `ip_forward` sets them all, so an
    interface that does not forward although `ip_forward` is 1 was set by somebody.

    The follower sets it after a reboot, not a file in /etc/sysctl.d: if forwarding is on before
    Docker starts, Docker leaves the policy of the chain FORWARD at ACCEPT, and the host would
    forward everything.
    """

    kind: ClassVar[str] = "sysctl"
    edits: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = (
        f"keys='{' '.join(key.replace('.', '/') for key in KEYS)}'\n"
        + program_text("look/sysctl.sh")
    )
    # Without the interfaces of containers, which come and go.
    fingerprint: ClassVar[str] = rf"""
# shellcheck disable=SC2043 # KEYS has one key so far
for key in {" ".join(KEYS)}; do echo "$key $(cat "/proc/sys/$(echo "$key" | tr . /)")"; done
grep -vxF "$(cat /proc/sys/net/ipv4/ip_forward)" /proc/sys/net/ipv4/conf/*/forwarding |
  grep -v /veth
for record in {ORIGINALS}/*/sysctl/*; do [ ! -f "$record" ] || echo "$record $(cat "$record")"; done
"""

    key: str
    value: str
    inventory: str
    claimed: bool = True
    original: str = field(default="", compare=False)
    has_other_users: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        return self.key

    def is_foreign(self) -> None:
        return None  # provision did not create the setting; `delete` looks at its value

    def create(self) -> Steps:
        is_set = sh('[ "$(sysctl -n "$1")" = "$2" ]', self.key, self.value)
        return (Unless(is_set, self._write(self.value)),)

    def _write(self, value: str) -> Steps:
        write = Run(("sysctl", "-q", "-w", f"{self.key}={value}"))
        if self.key in KEYS:
            return (write,)
        # A new interface begins with the value of ip_forward.
        return (Unless(Run(("test", "!", "-e", _path(self.key))), (write,)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Sysctl)
        return (record_once(self._record, current.original + "\n"), *self.create())

    def delete(self) -> Steps:
        restore = self._write(self.original)
        restored = () if self.has_other_users else self._unless_changed(restore, self.value)
        return (*restored, *remove_file(self._record))

    def _unless_changed(self, steps: Steps, *values: str) -> Steps:
        """`steps` that are left out if a person has set another value since the snapshot."""
        test = sh(_HAS_NONE_OF, self.key, *values)
        return (Unless(test, steps, note=f"{self.key} was left: it was set meanwhile"),)

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        recorded = record_once(self._record, self.original + "\n")
        return (recorded, *self._unless_changed(self.create(), self.value, self.original))

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert isinstance(before, Sysctl)
        restored = self._unless_changed(before.create(), self.value, before.value)
        return (*restored, *(() if ours else remove_file(self._record)))

    @property
    def _record(self) -> str:
        # No name of an interface contains `:`, which stands here for the `/` of its key.
        return f"{ORIGINALS}/{self.inventory}/sysctl/{self.key.replace('/', ':')}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        values = dict(rest.split(" ", 1) for keyword, rest in lines if keyword == "now")
        if missing := set(KEYS) - values.keys():
            raise ValueError(f"it did not print {', '.join(sorted(missing))}")
        kept = dict(rest.split(" ", 1) for keyword, rest in lines if keyword == "kept")
        for key, value in values.items():
            records = dict(_records(key, lines))
            # Any record tells the original value: each user copies it from the one before.
            original = next(iter(records.values()), kept.get(key))
            yield _found(key, value, records, original or value, origin)
            if key == IP_FORWARD:
                yield from _interfaces(value, original, lines, origin)


def _interfaces(
    forward: str, original: str | None, lines: list[tuple[str, str]], origin: Origin
) -> Iterator[Found]:
    """Yield the settings of interfaces that differ from `ip_forward`, or that have a record.

    `forward` is the value of `ip_forward`, `original` that from before any inventory was applied,
    None if none is applied: the interfaces had it, too, when the first one was applied.
    """
    links = dict(rest.split(" ", 1) for keyword, rest in lines if keyword == "interface")
    values = {forwarding_key(link): value for link, value in links.items()}
    names = (rest.split(" ", 1)[0] for keyword, rest in lines if keyword == "was")
    recorded = {name.replace(":", "/") for name in names} - {*KEYS}
    for key in sorted({*values, *recorded}):
        records, value = dict(_records(key, lines)), values.get(key, forward)
        yield _found(key, value, records, next(iter(records.values()), original or value), origin)


def _found(key: str, value: str, records: dict[str, str], original: str, origin: Origin) -> Found:
    record = records.pop(origin.inventory, None)
    sysctl = Sysctl(
        origin.host,
        key,
        value,
        origin.inventory,
        claimed=record is not None or not records,
        original=record or original,
        has_other_users=bool(records),
    )
    return Found(sysctl, ours=record is not None)


def _records(key: str, lines: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Inventories with a record of a setting, and its original value in each."""
    for name, record in (rest.split(" ", 1) for keyword, rest in lines if keyword == "was"):
        if name.replace(":", "/") == key:
            owner, value = record.split(" ", 1)
            yield owner, value

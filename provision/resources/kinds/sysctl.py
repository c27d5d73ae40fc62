"""Kind `sysctl`: a kernel setting.

The last inventory that has changed it restores its original value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource, keyed_lines
from provision.resources.on_hosts import ETC, ORIGINALS
from provision.resources.steps import Run, Steps, Unless, record_once, remove_file, sh

KEYS = ("net.ipv4.ip_forward",)
"""The settings that methods may change; the probe reads only these."""

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

    The follower sets it after a reboot, not a file in /etc/sysctl.d: if forwarding is on before
    Docker starts, Docker leaves the policy of the chain FORWARD at ACCEPT, and the host would
    forward everything.
    """

    kind: ClassVar[str] = "sysctl"
    edits: ClassVar[bool] = True
    volatile: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
# shellcheck disable=SC2043 # KEYS has one key so far
for key in {" ".join(KEYS)}; do
  echo "now $key $(cat "/proc/sys/$(echo "$key" | tr . /)")"
  for record in {ORIGINALS}/*/sysctl/"$key"; do
    [ -f "$record" ] || continue
    owner=${{record%/sysctl/*}}; echo "was $key ${{owner##*/}} $(cat "$record")"
  done
  for script in {ETC}/*/volatile.sh; do
    [ ! -f "$script" ] || sed -n "s/^sysctl -q -w $key=\([^ ]*\)$/kept $key \1/p" "$script"
  done
done
"""
    fingerprint: ClassVar[str] = rf"""
# shellcheck disable=SC2043 # KEYS has one key so far
for key in {" ".join(KEYS)}; do echo "$key $(cat "/proc/sys/$(echo "$key" | tr . /)")"; done
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
        return (Unless(is_set, (Run(("sysctl", "-q", "-w", f"{self.key}={self.value}")),)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Sysctl)
        return (record_once(self._record, current.original + "\n"), *self.create())

    def delete(self) -> Steps:
        restore = (Run(("sysctl", "-q", "-w", f"{self.key}={self.original}")),)
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
        return f"{ORIGINALS}/{self.inventory}/sysctl/{self.key}"

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        lines = keyed_lines(text)
        values = dict(rest.split(" ", 1) for keyword, rest in lines if keyword == "now")
        if missing := set(KEYS) - values.keys():
            raise ValueError(f"it did not print {', '.join(sorted(missing))}")
        for key, value in values.items():
            records = dict(_records(key, lines))
            # Any record tells the original value: each user copies it from the one before.
            record = records.pop(origin.inventory, None)
            kept = (rest.split(" ", 1) for keyword, rest in lines if keyword == "kept")
            originals = chain(records.values(), (step for name, step in kept if name == key))
            sysctl = cls(
                origin.host,
                key,
                value,
                origin.inventory,
                claimed=record is not None or not records,
                original=record or next(originals, value),
                has_other_users=bool(records),
            )
            yield Found(sysctl, ours=record is not None)


def _records(key: str, lines: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Inventories with a record of a setting, and its original value in each."""
    for name, record in (rest.split(" ", 1) for keyword, rest in lines if keyword == "was"):
        if name == key:
            owner, value = record.split(" ", 1)
            yield owner, value

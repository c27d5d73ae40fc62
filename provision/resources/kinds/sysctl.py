"""Kind `sysctl`: a kernel setting, put back when the last inventory that changed it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.on_hosts import ORIGINALS
from provision.resources.steps import Run, Steps, Unless, record_once, remove_file, sh

KEYS = ("net.ipv4.ip_forward",)
"""The settings that methods ask for; a probe reads just these."""


@dataclass(frozen=True, slots=True)
class Sysctl(Resource):
    """`key` = `value`. `first` is the value before any inventory changed it; `shared`: another
    inventory has changed it too. `claimed` is False where only others are on record as its users:
    the last one to go puts `first` back, so each must be known.

    It is kept by the follower, not by a file in /etc/sysctl.d: where forwarding is on before
    Docker starts, Docker leaves the FORWARD policy at ACCEPT, and the host is open after a reboot.
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
    first: str = field(default="", compare=False)
    shared: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        return self.key

    def create(self) -> Steps:
        there = sh('[ "$(sysctl -n "$1")" = "$2" ]', self.key, self.value)
        return (Unless(there, (Run(("sysctl", "-q", "-w", f"{self.key}={self.value}")),)),)

    def update(self, current: Resource) -> Steps:
        assert isinstance(current, Sysctl)
        return (record_once(self._was, current.first + "\n"), *self.create())

    def delete(self) -> Steps:
        restore = () if self.shared else (Run(("sysctl", "-q", "-w", f"{self.key}={self.first}")),)
        return (*restore, *remove_file(self._was))

    def unstash(self, txn: str) -> Steps:  # noqa: ARG002
        return self.update(self)

    def undo(self, before: Resource | None, *, ours: bool) -> Steps:
        assert isinstance(before, Sysctl)
        return (*before.create(), *(() if ours else remove_file(self._was)))

    @property
    def _was(self) -> str:
        return f"{ORIGINALS}/{self.inventory}/sysctl/{self.key}"

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        lines = [line.split(" ", 2) for line in text.splitlines()]
        for word, key, now in lines:
            if word == "now":
                records = dict(_records(key, lines))
                mine = records.pop(scope.inventory, None)
                first = mine or next(iter(records.values()), now)
                claimed = mine is not None or not records
                found = cls(scope.host, key, now, scope.inventory, claimed, first, bool(records))
                yield Found(found, ours=mine is not None)


def _records(key: str, lines: list[list[str]]) -> Iterator[tuple[str, str]]:
    for word, name, rest in lines:
        if word == "was" and name == key:
            owner, value = rest.split(" ", 1)
            yield owner, value

"""Kind `sysctl`: a kernel setting now and after a reboot, put back when its last user goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from provision.resource import WAS, Put, Resource, Run, Scope, Seen, Steps, forget, remember

KEYS = ("net.ipv4.ip_forward",)
"""The settings that methods ask for; a probe reads just these."""


@dataclass(frozen=True, slots=True)
class Sysctl(Resource):
    """`key` = `value`. `kept`: our file in /etc/sysctl.d says so too.

    `first` is the value before any inventory touched it; `shared`: another one asks for it too.
    """

    kind: ClassVar[str] = "sysctl"
    edits: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
for key in {" ".join(KEYS)}; do
  echo "now $key $(cat "/proc/sys/$(echo "$key" | tr . /)")"
  for was in {WAS}/*/sysctl/"$key"; do
    [ -f "$was" ] || continue
    owner=${{was%/sysctl/*}}; echo "was $key ${{owner##*/}} $(cat "$was")"
  done
  file=/etc/sysctl.d/90-provision-$name-$key.conf
  [ ! -f "$file" ] || echo "kept $key $(sed -n 's/^.* = //p' "$file")"
done
"""

    key: str
    value: str
    inventory: str
    kept: bool = True
    first: str = field(default="", compare=False)
    shared: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        return self.key

    def create(self) -> Steps:
        return self.update(self)

    def update(self, found: Resource) -> Steps:
        assert isinstance(found, Sysctl)
        text = f"# provision:{self.inventory}\n{self.key} = {self.value}\n"
        return (
            remember(self._was, found.first + "\n"),
            Put(self._file, text),
            Run(("sysctl", "-q", "-w", f"{self.key}={self.value}")),
        )

    def delete(self) -> Steps:
        restore = () if self.shared else (Run(("sysctl", "-q", "-w", f"{self.key}={self.first}")),)
        return (Run(("rm", "-f", "--", self._file)), *restore, *forget(self._was))

    @property
    def _was(self) -> str:
        return f"{WAS}/{self.inventory}/sysctl/{self.key}"

    @property
    def _file(self) -> str:
        return f"/etc/sysctl.d/90-provision-{self.inventory}-{self.key}.conf"

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Iterable[Seen]:
        lines = [line.split(" ", 2) for line in text.splitlines()]
        for word, key, now in lines:
            if word == "now":
                yield _seen(cls(scope.host, key, now, scope.inventory, first=now), lines, scope)


def _seen(now: Sysctl, lines: list[list[str]], scope: Scope) -> Seen:
    records = dict(_records(now.key, lines))
    kept = [value for word, key, value in lines if word == "kept" and key == now.key]
    ours = scope.inventory in records
    first = records.get(scope.inventory) or next(iter(records.values()), now.first)
    seen = replace(
        now,
        kept=ours and kept == [now.value],
        first=first,
        shared=bool(records.keys() - {scope.inventory}),
    )
    return Seen(seen, ours)


def _records(key: str, lines: list[list[str]]) -> Iterator[tuple[str, str]]:
    for word, name, rest in lines:
        if word == "was" and name == key:
            owner, value = rest.split(" ", 1)
            yield owner, value

"""Kind `program`: a program that the controller sends, known by its sha256."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.stash import Stashed
from provision.resources.steps import Run, Steps, Upload, partial_path, remove_file

BIN = "/var/lib/provision/bin"

_PLACE = """
[ "$(sha256sum <"$1" | cut -c1-64)" = "$3" ] ||
  { echo "what arrived is not what was sent (sha256)"; rm -f -- "$1"; exit 1; }
chmod 755 "$1" && sync "$1" && mv -f -- "$1" "$2" &&
  printf '%s %s\\n' "$3" "$(stat -c '%s %Y %Z %i' "$2")" >"$2.sha256"
"""


def place(inventory: str, network: str) -> str:
    """Where a network's flanneld lies on its hosts."""
    return f"{BIN}/{inventory}/{network}/flanneld"


@dataclass(frozen=True, slots=True)
class Binary(Stashed, Resource):
    """The program at `path`. `source` is None where the controller has it not yet.

    Its sha256 is computed where it lies; a look computes it again when the file was touched.
    """

    kind: ClassVar[str] = "binary"
    probe: ClassVar[str] = rf"""
for stamp in {BIN}/"$name"/*/*.sha256; do
  program=${{stamp%.sha256}}
  [ -f "$stamp" ] && [ -x "$program" ] || continue
  read -r sum was <"$stamp"
  [ "$was" = "$(stat -c '%s %Y %Z %i' "$program")" ] || sum=$(sha256sum <"$program" | cut -c1-64)
  echo "$sum $program"
done
"""

    fingerprint: ClassVar[str] = rf"""
for stamp in {BIN}/*/*/*.sha256; do [ ! -f "$stamp" ] || echo "$stamp $(cat "$stamp")"; done
"""

    path: str
    sha256: str
    source: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.path

    def create(self) -> Steps:
        assert self.source is not None
        new = partial_path(self.path)
        place = ("sh", "-c", _PLACE, "sh", new, self.path, self.sha256)
        return (Upload(self.source, new), Run(place))

    def delete(self) -> Steps:
        return (*remove_file(f"{self.path}.sha256"), *remove_file(self.path))

    @property
    def _paths(self) -> tuple[str, str]:
        return f"{self.path}.sha256", self.path

    @classmethod
    def parse(cls, text: str, scope: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            digest, path = line.split(" ", 1)
            yield Found(cls(scope.host, path, digest), ours=True)

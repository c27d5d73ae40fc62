"""Kind `binary`: a program that the controller uploads, identified by its sha256."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.stash import Stashed
from provision.resources.on_hosts import VAR
from provision.resources.steps import Run, Steps, Upload, partial_path, remove_file, sh

BIN = f"{VAR}/bin"
"""Folder of uploaded programs on a host."""

# The upload is checked before it replaces the program, and renamed, because the kernel refuses to
# write to a program that runs (ETXTBSY). The stamp holds size, times and inode.
_INSTALL = """
[ "$(sha256sum <"$1" | cut -c1-64)" = "$3" ] ||
  { echo "what arrived is not what was sent (sha256)"; rm -f -- "$1"; exit 1; }
chmod 755 "$1" && sync "$1" && mv -f -- "$1" "$2" &&
  printf '%s %s\\n' "$3" "$(stat -c '%s %Y %Z %i' "$2")" >"$2.sha256"
"""


def flanneld_path(inventory: str, network: str) -> str:
    """The path of a network's flanneld on its hosts."""
    return f"{BIN}/{inventory}/{network}/flanneld"


_IS_FOREIGN = """
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ "$(sha256sum <"$1" | cut -c1-64)" != "$2" ]
"""


@dataclass(frozen=True, slots=True)
class Binary(Stashed, Resource):
    """The program at `path`; `source` is the file on the controller, None if it has none yet.

    The host records the sha256 in a `.sha256` file, with size, times and inode of the program, and
    the probe hashes the program again only if one of these has changed.
    """

    kind: ClassVar[str] = "binary"
    only_where: ClassVar[tuple[str, ...]] = (f'{BIN}/"$name"',)
    probe: ClassVar[str] = rf"""
for stamp in {BIN}/"$name"/*/*.sha256; do
  program=${{stamp%.sha256}}
  [ -f "$stamp" ] && [ -x "$program" ] || continue
  read -r sum stat <"$stamp"
  [ "$stat" = "$(stat -c '%s %Y %Z %i' "$program")" ] || sum=$(sha256sum <"$program" | cut -c1-64)
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

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self.path, self.sha256)

    def create(self) -> Steps:
        assert self.source is not None
        new = partial_path(self.path)
        return (Upload(self.source, new), sh(_INSTALL, new, self.path, self.sha256))

    def delete(self) -> Steps:
        return (*remove_file(f"{self.path}.sha256"), *remove_file(self.path))

    @property
    def _paths(self) -> tuple[str, str]:
        return f"{self.path}.sha256", self.path

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            digest, path = line.split(" ", 1)
            yield Found(cls(origin.host, path, digest), ours=True)

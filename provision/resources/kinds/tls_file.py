"""Kind `tls_file`: a key or a certificate of the user, which the controller uploads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.stash import Stashed
from provision.resources.on_hosts import ETC, VAR
from provision.resources.render import program_text
from provision.resources.steps import Run, Steps, Upload, remove_file, sh

UPLOADS = f"{VAR}/uploads"
"""Folder of files that are not installed yet; only root can enter it."""
_INSTALL = program_text("host/tls_file.sh")
_IS_FOREIGN = """
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ "$(sha256sum 2>/dev/null <"$1" | cut -c1-64)" != "$2" ]
"""


def tls_path(inventory: str, network: str, ending: str) -> str:
    """The path of a network's file on its hosts; `ending`: `ca.crt`, `crt` or `key`."""
    return f"{ETC}/{inventory}/pki/{network}.external.{ending}"


@dataclass(frozen=True, slots=True)
class TlsFile(Stashed, Resource):
    """The file `path` with the content that has this sha256; only root can read it.

    The plan has no content: the upload copies `source`, a file on the controller. `protected` is
    False if somebody else than root may read the file.
    """

    kind: ClassVar[str] = "tls_file"
    only_where: ClassVar[tuple[str, ...]] = (f'{ETC}/"$name"/pki',)
    probe: ClassVar[str] = rf"""
for file in {ETC}/"$name"/pki/*.external.*; do
  [ -f "$file" ] && [ ! -h "$file" ] || continue
  echo "$(stat -c '%U %a' "$file") $(sha256sum <"$file" | cut -c1-64) $file"
done
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/pki/*.external.*; do
  [ ! -f "$file" ] || echo "$(stat -c '%U %a %n' "$file") $(sha256sum <"$file")"
done
"""

    path: str
    sha256: str
    protected: bool = True
    source: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return self.path

    def is_foreign(self) -> Run:
        return sh(_IS_FOREIGN, self.path, self.sha256)

    def create(self) -> Steps:
        assert self.source is not None
        upload = f"{UPLOADS}{self.path}"
        return (Upload(self.source, upload), sh(_INSTALL, upload, self.path, self.sha256))

    def delete(self) -> Steps:
        return remove_file(self.path)

    @property
    def _paths(self) -> tuple[str, ...]:
        return (self.path,)

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            owner, mode, digest, path = line.split(" ", 3)
            protected = (owner, mode) == ("root", "600")
            yield Found(cls(origin.host, path, digest, protected), ours=True)

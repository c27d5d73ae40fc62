"""Kind `file`: a file in the inventory's own folder, `/etc/provision/<inventory>/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

from provision.resources.base import Found, Origin, Resource
from provision.resources.lib.base64_text import decode_text
from provision.resources.on_hosts import ETC
from provision.resources.steps import Put, Run, Steps, remove_file, sh

_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
_IS_FOREIGN = """
[ -e "$1" ] || [ -h "$1" ] || exit 1
[ -h "$1" ] || [ "$(sha256sum 2>/dev/null <"$1" | cut -c1-64)" != "$2" ]
"""


@dataclass(frozen=True, slots=True)
class File(Resource):
    """The file `path` with exactly the content `text` and the mode `mode` (four octal digits).

    The folder is the mark: every file in it belongs to the inventory. A file whose text is not the
    one of the snapshot, or a folder or link in its place, is of somebody else.
    """

    kind: ClassVar[str] = "file"
    on_disk: ClassVar[bool] = True
    probe: ClassVar[str] = rf"""
files {ETC}/"$name"/*
"""
    fingerprint: ClassVar[str] = rf"""
for file in {ETC}/*/*; do
  [ ! -f "$file" ] || echo "$(stat -c '%a %n' "$file") $(sha256sum <"$file")"
done
"""

    path: str
    text: str
    mode: str

    @property
    def name(self) -> str:
        return self.path

    def is_foreign(self) -> Run | None:
        if _UNDECODABLE in self.text:
            return None  # the snapshot does not hold the bytes of the file
        return sh(_IS_FOREIGN, self.path, sha256(self.text.encode()).hexdigest())

    def create(self) -> Steps:
        return (Put(self.path, self.text, int(self.mode, 8)),)

    def update(self, current: Resource) -> Steps:  # noqa: ARG002
        return self.create()

    def delete(self) -> Steps:
        return (*remove_file(self.path), Run(("test", "!", "-e", self.path)))

    @classmethod
    def parse(cls, text: str, origin: Origin) -> Iterable[Found]:
        for line in text.splitlines():
            # `stat -c %a` prints no leading zeros, and a path may contain spaces.
            mode, encoded, path = line.split(" ", 2)
            content = decode_text(encoded)
            yield Found(cls(origin.host, path, content, f"{int(mode, 8):04o}"), ours=True)

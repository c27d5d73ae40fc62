"""The image `busybox:latest`, from Debian's busybox-static: containers without a registry."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from provision.errors import LabError
from provision.lab.tools import run

NAME = "busybox:latest"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FOLDERS = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


def write(tree: Path, target: Path) -> None:
    """Write a tar of busybox and its applets' links. Raises LabError."""
    found = [path for path in (tree / "usr/bin/busybox", tree / "bin/busybox") if path.is_file()]
    if not found:
        raise LabError(f"no busybox in {tree}")
    applets = run((str(found[0]), "--list")).split()
    with tarfile.open(target, "w") as tar:
        for name, mode in _FOLDERS.items():
            _add(tar, name, type_=tarfile.DIRTYPE, mode=mode)
        for name, text in _FILES.items():
            _add(tar, name, content=text.encode())
        _add(tar, "bin/busybox", content=found[0].read_bytes(), mode=0o755)
        for applet in sorted({*applets} - {"busybox"}):
            _add(tar, f"bin/{applet}", type_=tarfile.SYMTYPE, link="busybox")


def _add(
    tar: tarfile.TarFile,
    name: str,
    *,
    type_: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    content: bytes = b"",
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = type_, mode, len(content), link
    tar.addfile(entry, io.BytesIO(content))

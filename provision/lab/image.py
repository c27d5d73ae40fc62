"""The image `busybox:latest`, from Debian's busybox-static: containers without a registry."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

from provision.lab.tools import run
from provision.model.errors import LabError

NAME = "busybox:latest"
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FOLDERS = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


def write(tree: Path, target: Path) -> None:
    """Write an archive as of `docker save`: busybox and its applets' links. Raises LabError."""
    layer = _layer(tree)
    digest = sha256(layer).hexdigest()
    settings = {
        "architecture": run(("dpkg", "--print-architecture")).strip(),
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config = json.dumps(settings).encode()
    names = f"{sha256(config).hexdigest()}.json", f"{digest}/layer.tar"
    manifest = [{"Config": names[0], "RepoTags": [NAME], "Layers": [names[1]]}]
    with tarfile.open(target, "w") as tar:
        for name, content in zip(names, (config, layer), strict=True):
            _add(tar, name, content=content)
        _add(tar, "manifest.json", content=json.dumps(manifest).encode())


def _layer(tree: Path) -> bytes:
    found = [path for path in (tree / "usr/bin/busybox", tree / "bin/busybox") if path.is_file()]
    if not found:
        raise LabError(f"no busybox in {tree}")
    applets = run((str(found[0]), "--list")).split()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, mode in _FOLDERS.items():
            _add(tar, name, type_=tarfile.DIRTYPE, mode=mode)
        for name, text in _FILES.items():
            _add(tar, name, content=text.encode())
        _add(tar, "bin/busybox", content=found[0].read_bytes(), mode=0o755)
        for applet in sorted({*applets} - {"busybox"}):
            _add(tar, f"bin/{applet}", type_=tarfile.SYMTYPE, link="busybox")
    return content.getvalue()


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

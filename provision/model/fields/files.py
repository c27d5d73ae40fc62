"""Reading a file that a user named: nothing but a regular file is ever opened."""

from __future__ import annotations

import os
import stat
from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM
from pathlib import Path
from typing import BinaryIO

from provision.model.findings import Wrong

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_ERRORS = {
    ENOENT: ("no such file", "check the path"),
    ENOTDIR: ("no such file", "a part of the path is no folder"),
    ELOOP: ("the symbolic link leads to itself", "check where it points"),
    ENAMETOOLONG: ("the name is too long", "check the path"),
    EACCES: ("may not be read", "check the permissions of file and folder"),
    EPERM: ("may not be read", "check the permissions of file and folder"),
}


def named(text: str, folder: Path) -> Path:
    """The file that an inventory in `folder` calls `text`; or `Wrong`."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        raise Wrong("there is no such user", "write the whole path") from None


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading, or `Wrong`."""
    try:
        _refuse(path.stat().st_mode)
        # Looked at before it is opened, as opening a device or a pipe can act or wait; looked at
        # again after, as the name may lead elsewhere by then.
        opened = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        _refuse(os.fstat(opened.fileno()).st_mode)
        return opened
    except OSError as error:
        raise Wrong(*_words(error)) from error
    except ValueError as error:
        if isinstance(error, Wrong):
            raise
        raise Wrong("the name holds a character that no file name can hold") from error


def content(path: Path, limit: int) -> bytes:
    """All bytes of a file of at most `limit` bytes, or `Wrong`."""
    with open_regular(path) as opened:
        try:
            found = opened.read(limit + 1)
        except OSError as error:
            raise Wrong(*_words(error)) from error
    if len(found) > limit:
        raise Wrong(f"is larger than {limit >> 10} KiB", "is this the right file?")
    return found


def _refuse(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise Wrong(f"is {kind}, not a file", "name a regular file")


def _words(error: OSError) -> tuple[str, str]:
    return _ERRORS.get(error.errno or 0, (f"cannot be read: {error.strerror}", "check the path"))

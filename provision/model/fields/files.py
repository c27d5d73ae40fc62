"""Read files that a user names. Only regular files are ever opened."""

from __future__ import annotations

import os
import stat
from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM
from pathlib import Path
from typing import BinaryIO

from provision.model.findings import BadValueError

_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_ERRORS = {
    ENOENT: ("no such file", "check the path"),
    ENOTDIR: ("no such file", "a part of the path is not a folder"),
    ELOOP: ("the symbolic link leads to itself", "check where it points"),
    ENAMETOOLONG: ("the name is too long", "check the path"),
    EACCES: ("may not be read", "check the permissions of file and folder"),
    EPERM: ("may not be read", "check the permissions of file and folder"),
}


def resolve(text: str, folder: Path) -> Path:
    """The path `text` of an inventory in `folder`, `~` expanded. Raises BadValueError."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        raise BadValueError("the user after ~ does not exist", "write the whole path") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises BadValueError."""
    try:
        # Checked before opening, since opening a device can act and opening a pipe can block;
        # and again afterwards, since the name may lead to another file by then.
        _check_type(path.stat().st_mode)
        # O_NONBLOCK: opening a pipe without a writer would wait for one.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        _check_type(os.fstat(file.fileno()).st_mode)
        return file
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError as error:
        if isinstance(error, BadValueError):
            raise
        raise BadValueError("the name holds a character that no file name can hold") from error


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a regular file. Raises BadValueError, also above `limit` bytes."""
    with open_regular(path) as file:
        try:
            content = file.read(limit + 1)  # one byte more shows that the limit is passed
        except OSError as error:
            raise _unreadable(error) from error
    if len(content) > limit:
        raise BadValueError(f"is larger than {limit >> 10} KiB", "is this the right file?")
    return content


def _check_type(mode: int) -> None:
    if not stat.S_ISREG(mode):
        name = _TYPES.get(stat.S_IFMT(mode), "something else")
        raise BadValueError(f"is {name}, not a file", "name a regular file")


def _unreadable(error: OSError) -> BadValueError:
    unknown = (f"cannot be read: {error.strerror}", "check the path")
    return BadValueError(*_ERRORS.get(error.errno or 0, unknown))

"""Read files that a user names. Only regular files are ever opened."""

from __future__ import annotations

import os
import stat
from errno import EACCES, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM
from pathlib import Path
from typing import BinaryIO

from provision.model.findings import BadValueError

_TYPE_NAMES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_MESSAGES = {  # message and hint by errno
    ENOENT: ("no such file", "check the path"),
    ENOTDIR: ("no such file", "a part of the path is not a folder"),
    ELOOP: ("the symbolic link leads to itself", "check where it points"),
    ENAMETOOLONG: ("the name is too long", "check the path"),
    EACCES: ("permission denied", "check the permissions of file and folder"),
    EPERM: ("permission denied", "check the permissions of file and folder"),
}
_NOTHING = (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG)
"""Why `stat` finds nothing at a path."""


def resolve(text: str, folder: Path) -> Path:
    """The path that `text` means in an inventory: relative to its `folder`, or from `~`.

    Raises BadValueError.
    """
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        raise BadValueError("the user after ~ does not exist", "write an absolute path") from None


def file_type(path: Path) -> int | None:
    """The file type bits of what a path leads to; None if nothing is there, or can be.

    `Path.exists` and `is_file` raise what they do not know. Raises BadValueError where this user
    may not look.
    """
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise _unreadable(error) from error
    except ValueError:  # Python refuses a NUL byte
        return None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises BadValueError."""
    try:
        # Check the type before opening, because opening a device can start something: /dev/watchdog
        # starts a timer that reboots the machine.
        _check_type(path.stat().st_mode)
        # Check again after opening, because another file may have replaced the first. If that is a
        # named pipe, O_NONBLOCK keeps open() from waiting for a writer.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        _check_type(os.fstat(file.fileno()).st_mode)
        return file
    except OSError as error:
        raise _unreadable(error) from error
    except ValueError as error:
        if isinstance(error, BadValueError):  # from _check_type, with its own message
            raise
        # Python refuses a NUL byte, and characters that the file system's encoding lacks.
        raise BadValueError(
            "the path contains a character that is not allowed in file names"
        ) from error


def read_regular(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises BadValueError if it is larger, too."""
    with open_regular(path) as file:
        try:
            content = file.read(limit + 1)  # one more than allowed, to notice a larger file
        except OSError as error:
            raise _unreadable(error) from error
    if len(content) > limit:
        raise BadValueError(f"is larger than {limit >> 10} KiB", "is this the right file?")
    return content


def _check_type(mode: int) -> None:
    if not stat.S_ISREG(mode):
        type_name = _TYPE_NAMES.get(stat.S_IFMT(mode), "of an unknown type")
        raise BadValueError(f"is {type_name}, not a file", "name a regular file")


def _unreadable(error: OSError) -> BadValueError:
    default = (f"cannot be read: {error.strerror}", "check the path")
    return BadValueError(*_MESSAGES.get(error.errno or 0, default))

"""Locks between the processes of one controller: flock(2) on a file or a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    The kernel releases the lock when the process ends, however it ends. Raises BlockingIOError if
    another process holds it and `wait` is False.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, wait: bool = True, create: bool = False) -> Iterator[int]:
    """Hold the lock of a file or a folder; yields its descriptor.

    `create` makes the file if it is missing. Raises BlockingIOError if another process holds the
    lock and `wait` is False, and OSError if the file cannot be opened.
    """
    # NFS emulates flock by fcntl(2) locks, which need a file that is open for writing; a folder
    # cannot be opened so.
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        lock(descriptor, wait=wait)
        yield descriptor
    finally:
        os.close(descriptor)

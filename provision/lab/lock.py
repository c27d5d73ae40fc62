"""The lock that allows one `up` or `down` at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from provision.lab.layout import Lab
from provision.model.errors import LabError


@contextmanager
def locked(lab: Lab) -> Iterator[None]:
    """Hold the lab's lock. Raises LabError when another command holds it."""
    lab.state.mkdir(parents=True, exist_ok=True)
    # The lock is on the folder itself, so that it needs no file that `down` has to delete. The
    # kernel releases it when the process ends, however it ends.
    descriptor = os.open(lab.state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LabError(
            f"another `provision lab` is running in {lab.folder}", "wait until it has ended"
        ) from error
    finally:
        os.close(descriptor)

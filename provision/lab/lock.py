"""One `up` or `down` at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from provision.lab.place import Place
from provision.model.errors import LabError


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Hold the lab's folder. Raises LabError when another command holds it."""
    place.state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place.state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LabError(
            f"another `provision lab` is at work in {place.folder}", "wait until it has ended"
        ) from error
    finally:
        os.close(descriptor)

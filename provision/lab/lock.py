"""The lock that allows one `up` or `down` at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from provision.lab.layout import Lab
from provision.model import file_lock
from provision.model.errors import LabError


@contextmanager
def locked(lab: Lab) -> Iterator[None]:
    """Hold the lab's lock. Raises LabError when another command holds it."""
    lab.state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            # The lock is on the folder itself, so that it needs no file that `down` has to delete.
            stack.enter_context(file_lock.locked(lab.state, wait=False))
        except BlockingIOError as error:
            raise LabError(
                f"another `provision lab` is running in {lab.folder}", "wait until it has ended"
            ) from error
        yield

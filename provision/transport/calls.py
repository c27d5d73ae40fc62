"""Calls to hosts by threads, which the main thread can abandon: no script is sent after that.

An interrupted command closes all connections and then tells every host to roll back. A thread that
was still connecting must not arm or change its host after that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from provision.model.errors import ConnectError

T = TypeVar("T")


class CallGroup:
    """Calls that are made at the same time, and abandoned together."""

    def __init__(self) -> None:
        self.abandoned = False

    def run(self, work: Callable[[str], T], host: str) -> T:
        """Call `work` as part of this group."""
        _current.set(self)
        return work(host)


_current: ContextVar[CallGroup | None] = ContextVar("calls", default=None)


def require_current(host: str) -> None:
    """Raises ConnectError if the calling thread belongs to calls that were abandoned."""
    group = _current.get()
    if group is not None and group.abandoned:
        raise ConnectError(host, "the call was interrupted before it was sent")

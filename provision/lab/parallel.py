"""The same act on many hosts, a bounded number at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from provision.model.errors import LabError

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = max(8, 8 * (os.cpu_count() or 1))


def each(items: Sequence[Item], act: Callable[[Item], Result]) -> list[Result]:
    """The results, in order. All are tried; then one LabError tells of those that failed."""
    results: dict[int, Result] = {}
    errors: dict[int, Exception] = {}
    waiting: SimpleQueue[int] = SimpleQueue()
    for index in range(len(items)):
        waiting.put(index)

    def work() -> None:
        while True:
            try:
                index = waiting.get_nowait()
            except Empty:
                return
            try:
                results[index] = act(items[index])
            except Exception as error:
                errors[index] = error

    # Daemons: Ctrl-C must not wait for hosts that may take minutes.
    threads = [Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise _one([errors[index] for index in sorted(errors)])
    return [results[index] for index in range(len(items))]


def _one(errors: list[Exception]) -> Exception:
    first = next((error for error in errors if not isinstance(error, LabError)), errors[0])
    if not isinstance(first, LabError) or len(errors) == 1:
        return first
    return LabError(f"{first.message}\n({len(errors) - 1} more failed)", first.hint)

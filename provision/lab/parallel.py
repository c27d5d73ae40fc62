"""One action on many hosts, a bounded number at a time."""

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


def each(items: Sequence[Item], action: Callable[[Item], Result]) -> list[Result]:
    """Results in the order of `items`. Tries all; then raises one LabError for all failures."""
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
                results[index] = action(items[index])
            except Exception as error:
                errors[index] = error

    _run_threads(work, min(AT_ONCE, len(items)))
    if errors:
        raise _summary([errors[index] for index in sorted(errors)])
    return [results[index] for index in range(len(items))]


def _run_threads(work: Callable[[], None], count: int) -> None:
    # ThreadPoolExecutor joins its threads at exit. Daemon threads let Ctrl-C end the program,
    # even while a host takes minutes.
    threads = [Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        # Python notices a signal that the kernel delivered to another thread when the wait ends.
        while thread.is_alive():
            thread.join(timeout=0.5)


def _summary(errors: list[Exception]) -> Exception:
    """The first programming error, else the first LabError with the number of the others."""
    first = next((error for error in errors if not isinstance(error, LabError)), errors[0])
    if not isinstance(first, LabError) or len(errors) == 1:
        return first
    return LabError(f"{first.message}\n({len(errors) - 1} more failed)", first.hint)

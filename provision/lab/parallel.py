"""The same act on many hosts, a bounded number at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from provision.errors import LabError

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(items: Iterable[Item], act: Callable[[Item], Result]) -> list[Result]:
    """The results, in order. All are tried; then one LabError tells of those that failed."""
    with ThreadPoolExecutor(max(8, 8 * (os.cpu_count() or 1))) as pool:
        futures = [pool.submit(act, item) for item in items]
        errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, LabError):
            raise error
    if errors:
        first = errors[0]
        assert isinstance(first, LabError)
        more = f"\n({len(errors) - 1} more failed)" if len(errors) > 1 else ""
        raise LabError(first.message + more, first.hint) from first
    return [future.result() for future in futures]

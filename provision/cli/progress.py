"""One line on a terminal that says what is done of how many; other output removes it first."""

from __future__ import annotations

import select
import sys
import threading
import time
from typing import TextIO

INTERVAL_S = 0.1
"""Seconds between two updates of the line."""
_CLEAR = "\r\x1b[K"


def takes_output(stream: TextIO, within_s: float = 0) -> bool:
    """True if a stream takes output: a terminal that Ctrl-S has stopped would block the writer."""
    try:
        return bool(select.select([], [stream], [], within_s)[1])
    except (OSError, ValueError):  # not a file of the system, as in tests
        return True


class ProgressLine:
    """The line of a run, on standard error. Nothing is printed where that is not a terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown = False
        self._updated_at = 0.0

    def update(self, label: str, done: int, total: int) -> None:
        """Show `LABEL: DONE of TOTAL`; the line goes when all is done."""
        if not sys.stderr.isatty():
            return
        with self._lock:
            now = time.monotonic()
            if done >= total:
                self._clear()
            elif now - self._updated_at >= INTERVAL_S:
                self._updated_at = now
                if not takes_output(sys.stderr):
                    return
                self._shown = True
                sys.stderr.write(f"{_CLEAR}{label}: {done:,} of {total:,}")
                sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, before something else is printed."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        if self._shown and takes_output(sys.stderr):
            self._shown = False
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()


LINE = ProgressLine()
"""The line of this process: a terminal has one cursor."""

"""Standard output and standard error whose failures never end a run.

A terminal can be closed, a disk full, a reader such as `head` ended, while hosts wait for the
confirmation of a change. What cannot be written is dropped, and the exit status tells it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

import click

from provision.cli.progress import LINE, takes_output
from provision.model.errors import ExitStatus

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE_S = 2.0
"""Seconds that a line of progress waits for standard error to take it."""
_NAMES = {1: "standard output", 2: "standard error"}


class _Stream(io.FileIO):
    """The raw bytes of a descriptor; `error` is the first failure to write them."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`, or note why that failed."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            self.error = self.error or error
        return size

    def _write_some(self, data: memoryview) -> int:
        written: int | None = super().write(data)
        if written is None:
            # Another program that shares the pipe or the terminal has set O_NONBLOCK on it.
            select.select([], [self], [])
        return written or 0


_installed: list[_Stream] = []


def install() -> None:
    """Replace the standard streams. Closed ones lead to /dev/null, and count as failed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise the next file or connection gets this number, and messages go into it.
            # Open for reading only: a write fails, so that the loss is noticed.
            os.open(os.devnull, os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = _text(1, sys.stdout), _text(2, sys.stderr)


def _text(descriptor: int, original: TextIO | None) -> TextIO:
    raw = _Stream(descriptor)
    _installed.append(raw)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=original.encoding if original else "utf-8",
        # A terminal of another character set has no arrows and frames.
        errors="backslashreplace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def note_loss(error: OSError) -> None:
    """Note that other output, such as a file, could not be written."""
    _other_losses.append(error)


_other_losses: list[OSError] = []


def say(line: str) -> None:
    """Print a line to standard error, unless it takes nothing for PATIENCE_S seconds.

    A terminal stopped by Ctrl-S, or a pager that nobody scrolls, must not stop a change.
    """
    if takes_output(sys.stderr, PATIENCE_S):
        LINE.clear()
        click.echo(line, err=True)
    else:
        note_loss(OSError(errno.EAGAIN, "standard error takes no more output"))


def exit_status(status: int) -> int:
    """Flush the streams; return `status`, or ERROR instead of a success whose output was lost."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:  # nobody reads the output
        return ExitStatus.INTERRUPTED
    for raw in _installed:
        # A reader such as `head` that has read enough needs no message.
        if raw.error and raw.error.errno != errno.EPIPE:
            click.echo(f"{_NAMES[raw.fileno()]} is incomplete: {raw.error.strerror}", err=True)
    lost = _other_losses or any(raw.error for raw in _installed)
    return ExitStatus.ERROR if lost and status in (ExitStatus.OK, ExitStatus.CHANGES) else status

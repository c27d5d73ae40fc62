"""A lab for one benchmark, on address ranges that this machine does not use yet."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from tests.lab.free import free_ranges
from tests.lab.hosts import Hosts


@contextlib.contextmanager
def temporary_lab(count: int, suite: str) -> Iterator[Hosts]:
    """Boot `count` hosts; take them down at the end, also after SIGTERM or Ctrl-C."""
    folder = Path(tempfile.mkdtemp(prefix="provision-bench-", dir="/var/tmp"))
    lab = Lab(folder)
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        bringup.up(lab, UpOptions(count, suite, False, free_ranges(lab)), say=_ignore)
        yield Hosts(lab)
    finally:
        # A second SIGTERM must not leave half a lab behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        teardown.down(lab, say=_ignore)
        shutil.rmtree(folder)
        signal.signal(signal.SIGTERM, previous)


def _terminate(_signal: int, _frame: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _ignore(_progress: str) -> None:
    pass

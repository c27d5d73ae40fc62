"""The cache of base trees, shared disks and built programs: each is complete, or not there.

A folder is built under a temporary name and renamed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from provision.lab.layout import CACHE
from provision.model import file_lock


@contextmanager
def build_folder(target: Path) -> Iterator[Path]:
    """A temporary folder in the cache, locked; deleted at the end unless it was renamed."""
    build = CACHE / f".build-{target.name}"
    with file_lock.locked(CACHE / f"{build.name}.lock", create=True):
        try:
            yield build
        finally:
            shutil.rmtree(build, ignore_errors=True)


def remove_half_built() -> None:
    """Delete the folders of interrupted builds; running builds hold their lock and stay."""
    for lock in CACHE.glob(".build-*.lock"):
        # The kernel drops the lock of a process that was killed.
        with suppress(BlockingIOError), file_lock.locked(lock, wait=False, create=True):
            shutil.rmtree(CACHE / lock.name.removesuffix(".lock"), ignore_errors=True)

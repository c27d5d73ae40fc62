"""The labs of the tests: booted hosts on address ranges of their own, beside a developer's lab."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from provision.lab import bringup, teardown
from provision.lab.layout import Lab
from provision.lab.settings import UpOptions
from provision.model import file_lock
from tests.lab.faults import Faults, injecting
from tests.lab.free import free_ranges
from tests.lab.hosts import HOSTS, Hosts

IN_USE = "tests-run"
"""The file in a lab's folder that a run of the tests locks until it ends."""
Boot = Callable[..., Hosts]
"""Called with a suite, by host the variants of `lab up --host`, `lab up --kernel`, and a count."""


@pytest.fixture(scope="session")
def booted() -> Iterator[Boot]:
    """A function that boots the hosts of a suite, or returns the hosts that run already.

    Only one lab runs at a time: for another one, the fixture takes the earlier lab down.
    """
    if os.geteuid() != 0:
        pytest.fail("the tests on booted hosts need root: run scripts/test")
    _down_abandoned()
    labs: dict[str, Lab] = {}
    in_use = ExitStack()

    def boot(
        suite: str,
        host_variants: Mapping[str, Mapping[str, str]] | None = None,
        kernel: str = "shared",
        count: int = len(HOSTS),
    ) -> Hosts:
        key = f"{suite} {kernel} {count} {host_variants or ''}"
        if key not in labs:
            for earlier in list(labs):
                _down(labs.pop(earlier))
            # Not in pytest's folder, because a later run of pytest deletes old folders there.
            folder = Path(tempfile.mkdtemp(prefix=f"provision-lab-{suite}-", dir="/var/tmp"))
            in_use.enter_context(file_lock.locked(folder / IN_USE, create=True))
            labs[key] = lab = Lab(folder)
            options = UpOptions(
                count, suite, False, free_ranges(lab), {}, host_variants or {}, kernel
            )
            bringup.up(lab, options, say=print)
        return Hosts(labs[key])

    yield boot
    for lab in labs.values():
        _down(lab)
    in_use.close()


def _down_abandoned() -> None:
    """Take down the labs of runs that were killed: the kernel has dropped their locks."""
    for mark in Path("/var/tmp").glob(f"provision-lab-*/{IN_USE}"):
        with suppress(BlockingIOError, FileNotFoundError), file_lock.locked(mark, wait=False):
            _down(Lab(mark.parent))


def _down(lab: Lab) -> None:
    teardown.down(lab, say=print)
    shutil.rmtree(lab.folder)


@pytest.fixture
def mixed(booted: Boot) -> Hosts:
    """Three hosts of the suites trixie, bookworm and sid."""
    return booted("mixed")


@pytest.fixture
def faults(mixed: Hosts) -> Iterator[Faults]:
    """Faults for changes of routes.yml; the hosts are healed afterwards."""
    with injecting(mixed) as faults:
        yield faults


@pytest.fixture
def inventory(mixed: Hosts) -> str:
    """The file name of the example routes.yml in the lab's folder."""
    return mixed.inventory("routes.yml")

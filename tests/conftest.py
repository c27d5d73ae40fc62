"""Shared fixtures of all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from tests import resume

# On a busy machine, an example may take long; that says nothing about the code.
settings.register_profile(
    "noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("noisy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-goldens`, which rewrites expected files; review each before you commit it."""
    parser.addoption("--update-goldens", action="store_true", help="rewrite expected files")
    parser.addoption(
        "--resume", action="store_true", help="without the tests that passed in earlier runs"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the plug-ins of `--resume`, and undo what a background job does to signals.

    `nohup` and `&` ignore SIGHUP and SIGINT, and a program inherits that. A handler in this process
    is the default action in the programs that it starts, and this process survives the signal.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    resume.register(config)

"""Shared fixtures of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine, an example may take long; that says nothing about the code.
settings.register_profile(
    "noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("noisy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-goldens`, which rewrites expected files; review each before you commit it."""
    parser.addoption("--update-goldens", action="store_true", help="rewrite expected files")

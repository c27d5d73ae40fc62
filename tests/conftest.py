"""Shared fixtures of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Machines are noisy: how long an example takes on one says nothing of the code.
settings.register_profile(
    "noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("noisy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-goldens` writes expected files anew; read each before you commit it."""
    parser.addoption("--update-goldens", action="store_true", help="write expected files anew")

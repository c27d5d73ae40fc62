"""Shared fixtures of all tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-goldens` writes expected files anew; read each before you commit it."""
    parser.addoption("--update-goldens", action="store_true", help="write expected files anew")

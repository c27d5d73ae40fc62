"""Which cases of a test on booted hosts run by default, and which with --full only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], *default: Any) -> list[Any]:
    """All cases for `parametrize`, of which only those of `default` run without --full."""
    every = list(cases)
    assert set(default) <= set(every), "a default case does not exist"
    return [
        case if case in default else pytest.param(case, marks=pytest.mark.full) for case in every
    ]

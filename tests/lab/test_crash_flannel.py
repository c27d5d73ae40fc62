"""Changes by method flannel that end at any of their steps are rolled back on all hosts.

In a file of its own, as it takes as long as all other methods together: the test run gives each
file to one of its two workers.
"""

from __future__ import annotations

import pytest

from tests.lab.crash import STEPS, Crash, crash, crash_everywhere

# Up to 42 changes, each of 10 s or more.
pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(3600)]
__all__ = ["crash"]


@pytest.mark.parametrize("example", [name for name in STEPS if name.startswith("flannel")])
def test_a_crash_at_any_step_is_rolled_back(crash: Crash, example: str) -> None:
    """Each step is ended before its first command on some hosts, after it on the others."""
    crash_everywhere(crash, example)

"""Changes by every method that end at any of their steps are rolled back on all hosts.

By default two steps of one method are tested, the same ones in each run; the full tests try all of
them (those of flannel in test_crash_flannel.py).
"""

from __future__ import annotations

import random

import pytest

from tests.lab.crash import CUTS, STEPS, Crash, crash, crash_everywhere
from tests.lab.selection import sampled

pytestmark = pytest.mark.lab
__all__ = ["crash"]


@pytest.mark.parametrize("example", sampled(STEPS, "routes.yml"))
def test_a_crash_at_a_sampled_step_is_rolled_back(crash: Crash, example: str) -> None:
    """One step of apply and one step of destroy, chosen by the example's name."""
    chance = random.Random(example)
    crash.cut_apply(chance.randint(1, STEPS[example]), chance.choice(CUTS))
    assert crash.apply() == STEPS[example]
    crash.cut_destroy(chance.randint(1, STEPS[example]), chance.choice(CUTS))
    assert crash.destroy() == STEPS[example]


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("example", [name for name in STEPS if not name.startswith("flannel")])
def test_a_crash_at_any_step_is_rolled_back(crash: Crash, example: str) -> None:
    """Each step is ended before its first command on some hosts, after it on the others."""
    crash_everywhere(crash, example)

"""Address ranges for the tests' labs that nothing else on this machine uses."""

from __future__ import annotations

import contextlib

from provision.lab import namespace
from provision.lab.layout import Lab
from provision.lab.ranges import Ranges, ranges
from provision.model.errors import LabError


def free_ranges(lab: Lab) -> Ranges:
    """A management and a data range that are free, and are not the default of a developer's lab.

    The search starts at a number that depends on the lab's folder, so that labs that boot in the
    same second choose different ranges.
    """
    start = int(lab.tag, 16) % 120
    for second in (130 + (start + step) % 120 for step in range(120)):
        candidate = ranges(f"10.{second}.0.0/24,10.{second}.1.0/24")
        with contextlib.suppress(LabError):
            namespace.refuse_used_ranges(lab, candidate, ())
            return candidate
    raise AssertionError("no free range")

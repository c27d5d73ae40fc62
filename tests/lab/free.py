"""Address ranges for the tests' labs: whatever else runs on this machine keeps its own."""

from __future__ import annotations

import contextlib

from provision.lab import namespace
from provision.lab.layout import Lab
from provision.lab.ranges import Ranges, ranges
from provision.model.errors import LabError


def free_ranges(place: Lab) -> Ranges:
    """Two that nothing here uses: not the default, which a developer's lab has.

    Each folder begins at a place of its own: labs that boot in the same second do not meet.
    """
    begin = int(place.tag, 16) % 120
    for second in (130 + (begin + step) % 120 for step in range(120)):
        wanted = ranges(f"10.{second}.0.0/24,10.{second}.1.0/24")
        with contextlib.suppress(LabError):
            namespace.refuse_used_ranges(place, wanted)
            return wanted
    raise AssertionError("no free range")

"""Numbers of linux/rtnetlink.h: which program made a route (`ip route … proto`), and its type."""

from __future__ import annotations

KERNEL = 2
"""The range of an interface, which comes and goes with its address."""
BOOT = 3
"""No protocol was named, as flanneld and most people do; `ip route` does not print it."""
STATIC = 4
"""An administrator's route."""

REFUSALS = {"6": "blackhole", "7": "unreachable", "8": "prohibit", "9": "throw"}
"""Types of routes in a main table that lead nowhere, as `ip -N` prints them."""

OF_PEOPLE = frozenset((BOOT, STATIC))
"""Routes with other protocols have a mark, or a program that makes them again."""

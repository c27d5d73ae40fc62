"""What is measured and what of it is told: names, units, spreads, and ratios to the limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from provision.compare.candidates import LIMIT


@dataclass(frozen=True, slots=True)
class Figure:
    """One column: `more` is better, or less is; `ratio`: it makes sense beside the limit's."""

    key: str
    short: str
    title: str
    unit: str
    more: bool
    ratio: bool = True


FIGURES = (
    Figure("tcp_1", "TCP ×1", "TCP, one stream", "Gbit/s", more=True),
    Figure("tcp_8", "TCP ×8", "TCP, eight streams", "Gbit/s", more=True),
    Figure("requests", "requests", "requests on short connections", "1/s", more=True),
    Figure("rtt_p50", "RTT p50", "round trip, p50", "µs", more=False),
    Figure("rtt_p99", "RTT p99", "round trip, p99", "µs", more=False),
    Figure("cpu", "CPU", "processor time", "s/GB", more=False),
    # Only where the two hosts have a kernel each.
    Figure("cpu_from", "CPU sender", "processor time of the sender", "s/GB", more=False),
    Figure("cpu_to", "CPU receiver", "processor time of the receiver", "s/GB", more=False),
    # The limit's own loss is often none: nothing can be divided by it.
    Figure("udp_loss", "UDP loss", "UDP loss", "%", more=False, ratio=False),
)
SHOWN = tuple(one for one in FIGURES if one.key not in ("cpu_from", "cpu_to"))
"""What people are shown of them."""
MEASURES = ("tcp_1", "tcp_8", "udp", "rtt", "requests")
"""What is run; one run can give several figures."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of one candidate (or of the limit), in one round of one turn."""

    candidate: str
    turn: int
    round: int
    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, middle and largest of several values."""

    low: float
    middle: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """None of no values."""
    found = sorted(values)
    return Spread(found[0], median(found), found[-1]) if found else None


def values(readings: Iterable[Measurement], candidate: str, figure: str) -> tuple[float, ...]:
    """All values of one figure of one candidate, in the order in which they were read."""
    return tuple(r.value for r in readings if (r.candidate, r.figure) == (candidate, figure))


def ratios(readings: Iterable[Measurement], candidate: str, figure: str) -> tuple[float, ...]:
    """Each value by that of the limit in the same round: noise that both had falls out."""
    every = tuple(readings)
    limits = _limits(every, figure)
    return tuple(
        r.value / limit
        for r in every
        if (r.candidate, r.figure) == (candidate, figure)
        and (limit := limits.get((r.turn, r.round)))
    )


def _limits(readings: Iterable[Measurement], figure: str) -> Mapping[tuple[int, int], float]:
    return {
        (r.turn, r.round): r.value for r in readings if (r.candidate, r.figure) == (LIMIT, figure)
    }

"""The measured figures: names and units, spreads, and ratios to the baseline. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from provision.compare.candidates import BASELINE


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured quantity. `has_ratio`: its ratio to the baseline is meaningful."""

    key: str
    short: str
    title: str
    unit: str
    more_is_better: bool = False
    has_ratio: bool = True


FIGURES = (
    Figure("tcp_1", "TCP ×1", "TCP, one stream", "Gbit/s", more_is_better=True),
    Figure("tcp_8", "TCP ×8", "TCP, eight streams", "Gbit/s", more_is_better=True),
    Figure("requests", "requests", "requests on short connections", "1/s", more_is_better=True),
    Figure("rtt_p50", "RTT p50", "round trip, p50", "µs"),
    Figure("rtt_p99", "RTT p99", "round trip, p99", "µs"),
    Figure("cpu", "CPU", "processor time", "s/GB"),
    # Only if the two hosts do not share a kernel.
    Figure("cpu_from", "CPU sender", "processor time of the sender", "s/GB"),
    Figure("cpu_to", "CPU receiver", "processor time of the receiver", "s/GB"),
    # The baseline often loses nothing, and nothing can be divided by 0.
    Figure("udp_loss", "UDP loss", "UDP loss", "%", has_ratio=False),
)
TABLE_FIGURES = tuple(figure for figure in FIGURES if figure.key not in ("cpu_from", "cpu_to"))
"""The figures of tables and pages; JSON has all."""
MEASUREMENTS = ("tcp_1", "tcp_8", "udp", "rtt", "requests")
"""The measurements of a round; one can give several figures."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of one candidate (or of the baseline), in one round of one group."""

    candidate: str
    group: int
    round: int
    figure: str
    value: float


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, the median and the largest of several values."""

    low: float
    median: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """The spread of values; None if there are none."""
    ordered = sorted(values)
    return Spread(ordered[0], median(ordered), ordered[-1]) if ordered else None


def values(measurements: Iterable[Measurement], candidate: str, figure: str) -> tuple[float, ...]:
    """All values of one figure of one candidate, in the order of measuring."""
    return tuple(m.value for m in measurements if (m.candidate, m.figure) == (candidate, figure))


def ratios(measurements: Iterable[Measurement], candidate: str, figure: str) -> tuple[float, ...]:
    """Each value divided by the baseline's in the same round, so that shared noise cancels out."""
    in_order = tuple(measurements)
    baseline = _baseline(in_order, figure)
    return tuple(
        measurement.value / divisor
        for measurement in in_order
        if (measurement.candidate, measurement.figure) == (candidate, figure)
        and (divisor := baseline.get((measurement.group, measurement.round)))
    )


def _baseline(measurements: Iterable[Measurement], figure: str) -> Mapping[tuple[int, int], float]:
    """The baseline's value of a figure by group and round."""
    return {
        (measurement.group, measurement.round): measurement.value
        for measurement in measurements
        if (measurement.candidate, measurement.figure) == (BASELINE, figure)
    }

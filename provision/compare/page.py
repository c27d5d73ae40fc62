"""A comparison as one self-contained HTML page: charts of the ratios, and tables.

The coordinates of the charts are computed here, the template draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.compare.candidates import BASELINE
from provision.compare.figures import TABLE_FIGURES, Figure, Spread, ratios
from provision.compare.result import STEPS, Comparison
from provision.compare.text import direction, notes, number, ratio, summary
from provision.resources.render import render

NAMES, PLOT, LABELS, ROW, TOP = 110, 240, 120, 26, 22
"""Widths of a chart's three columns, height of a row, height above the first row."""
LARGEST = 3.0
"""The largest ratio drawn to scale: a method 50 times slower must not flatten all others."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one method, in the chart's units; x counts from the left edge of the plot.

    `label` is the median, `span` the range. `beyond`: the bar is cut off at LARGEST.
    """

    name: str
    y: int
    median: float
    low: float
    high: float
    dots: tuple[float, ...]
    label: str
    span: str
    beyond: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The ratios of one figure; `baseline` is the x of ratio 1."""

    title: str
    direction: str
    bars: tuple[Bar, ...]
    baseline: float
    height: int
    ticks: tuple[tuple[float, str], ...]


def page(result: Comparison, title: str) -> str:
    """The HTML of the page."""
    return render(
        "report/compare.html.j2",
        title=title,
        result=result,
        charts=tuple(charts(result)),
        names=NAMES,
        plot=PLOT,
        width=NAMES + PLOT + LABELS,
        top=TOP,
        row=ROW,
        columns=TABLE_FIGURES,
        median=lambda method, figure: _median(result.spread(method.candidate, figure)),
        span=lambda method, figure: _span(result.spread(method.candidate, figure)),
        ratio=lambda method, figure: _ratio(result.ratio(method.candidate, figure)),
        steps=STEPS,
        notes=tuple(notes(result))[:-1],
        summary=summary(result),
    )


def _median(spread: Spread | None) -> str:
    return number(spread.median) if spread else "–"


def _ratio(spread: Spread | None) -> str:
    return f"× {ratio(spread.median)}" if spread else ""


def _span(spread: Spread | None) -> str:
    return f"{number(spread.low)}–{number(spread.high)}" if spread and spread.high else ""


def charts(result: Comparison) -> Iterator[Chart]:
    """A chart for each figure that has ratios."""
    for figure in TABLE_FIGURES:
        spreads = {
            method.candidate: spread
            for method in result.measured
            if method.candidate != BASELINE and (spread := result.ratio(method.candidate, figure))
        }
        if spreads:
            yield _chart(result, figure, spreads)


def _chart(result: Comparison, figure: Figure, spreads: dict[str, Spread]) -> Chart:
    highest = max(1.0, *(spread.high for spread in spreads.values()))
    scale_end = min(highest, LARGEST) * 1.05

    def x(ratio: float) -> float:
        return round(PLOT * min(ratio / scale_end, 1.0), 1)

    bars = tuple(
        Bar(
            name,
            TOP + ROW * position,
            x(spread.median),
            x(spread.low),
            x(spread.high),
            tuple(x(ratio) for ratio in ratios(result.measurements, name, figure.key)),
            ratio(spread.median),
            f"{ratio(spread.low)}–{ratio(spread.high)}",
            spread.median > scale_end,
        )
        for position, (name, spread) in enumerate(spreads.items())
    )
    step = _tick_step(scale_end)
    ticks = tuple((x(step * k), f"{step * k:g}") for k in range(1 + int(scale_end / step)))
    height = TOP + ROW * len(bars) + 22
    return Chart(figure.title, direction(figure), bars, x(1), height, ticks)


def _tick_step(scale_end: float) -> float:
    """A round distance between ticks that gives at most six of them."""
    for power in (0.1, 1.0, 10.0, 100.0, 1000.0):
        for factor in (2, 2.5, 5, 10):
            if scale_end / (factor * power) <= 6:
                return factor * power
    return scale_end

"""Render a comparison as one self-contained HTML page: charts of the ratios, and tables.

This module computes the coordinates of the charts; templates/report/compare.html.j2 draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.compare.candidates import BASELINE
from provision.compare.figures import TABLE_FIGURES, Figure, Spread, ratios
from provision.compare.result import STEPS, Comparison
from provision.compare.text import direction, notes, number_text, ratio_text, summary
from provision.resources.render import render

NAME_WIDTH, PLOT_WIDTH, LABEL_WIDTH = 110, 240, 120
"""Widths of a chart's columns: names of the methods, bars, labels. Lengths are in SVG units."""
ROW_HEIGHT, TOP_MARGIN, BOTTOM_MARGIN = 26, 22, 22
"""Heights of a row, of the baseline's label above the rows, of the ticks' labels below them."""
LARGEST_RATIO = 3.0
"""The chart cuts off longer bars: a method 50 times slower must not flatten all others."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of one method. `y` is the top of its row.

    `median`, `low`, `high` and `dots` (one per round) are x coordinates, from the left edge of the
    plot. `label` is the median as text, `range_label` the range. `cut_off`: the bar is longer than
    the plot.
    """

    name: str
    y: int
    median: float
    low: float
    high: float
    dots: tuple[float, ...]
    label: str
    range_label: str
    cut_off: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The bar chart of one figure's ratios.

    `baseline` is the x coordinate of ratio 1. `ticks`: x coordinate and label of each.
    """

    title: str
    direction: str
    bars: tuple[Bar, ...]
    baseline: float
    height: int
    ticks: tuple[tuple[float, str], ...]


def page(result: Comparison, title: str) -> str:
    """Render the page as HTML."""
    return render(
        "report/compare.html.j2",
        title=title,
        result=result,
        charts=tuple(charts(result)),
        name_width=NAME_WIDTH,
        plot_width=PLOT_WIDTH,
        width=NAME_WIDTH + PLOT_WIDTH + LABEL_WIDTH,
        top_margin=TOP_MARGIN,
        row_height=ROW_HEIGHT,
        columns=TABLE_FIGURES,
        median=lambda method, figure: _median(result.spread(method.candidate, figure)),
        range_label=lambda method, figure: _range(result.spread(method.candidate, figure)),
        ratio=lambda method, figure: _ratio(result.ratio(method.candidate, figure)),
        steps=STEPS,
        notes=tuple(notes(result))[:-1],  # the last note is the summary, which heads the page
        summary=summary(result),
    )


def _median(spread: Spread | None) -> str:
    return number_text(spread.median) if spread else "–"


def _ratio(spread: Spread | None) -> str:
    return f"× {ratio_text(spread.median)}" if spread else ""


def _range(spread: Spread | None) -> str:
    if spread is None or not spread.high:  # UDP often loses nothing: "0–0" would tell nothing
        return ""
    return f"{number_text(spread.low)}–{number_text(spread.high)}"


def charts(result: Comparison) -> Iterator[Chart]:
    """Yield a chart for each figure that has ratios."""
    for figure in TABLE_FIGURES:
        spreads = {
            method.candidate: spread
            for method in result.measured
            if method.candidate != BASELINE and (spread := result.ratio(method.candidate, figure))
        }
        if spreads:
            yield _chart(result, figure, spreads)


def _chart(result: Comparison, figure: Figure, spreads: dict[str, Spread]) -> Chart:
    # At least 1, so that the line of the baseline is inside the plot.
    highest = max(1.0, *(spread.high for spread in spreads.values()))
    scale_end = min(highest, LARGEST_RATIO) * 1.05  # leaves room for the last dot

    def x(ratio: float) -> float:
        return round(PLOT_WIDTH * min(ratio / scale_end, 1.0), 1)

    bars = tuple(
        Bar(
            name,
            y=TOP_MARGIN + ROW_HEIGHT * position,
            median=x(spread.median),
            low=x(spread.low),
            high=x(spread.high),
            dots=tuple(x(ratio) for ratio in ratios(result.measurements, name, figure.key)),
            label=ratio_text(spread.median),
            range_label=f"{ratio_text(spread.low)}–{ratio_text(spread.high)}",
            cut_off=spread.median > scale_end,
        )
        for position, (name, spread) in enumerate(spreads.items())
    )
    step = _tick_step(scale_end)
    ticks = tuple((x(step * k), f"{step * k:g}") for k in range(1 + int(scale_end / step)))
    height = TOP_MARGIN + ROW_HEIGHT * len(bars) + BOTTOM_MARGIN
    return Chart(figure.title, direction(figure), bars, x(1), height, ticks)


def _tick_step(scale_end: float) -> float:
    """The smallest round number that divides the scale into at most six steps."""
    for power in (0.1, 1.0, 10.0, 100.0, 1000.0):
        for factor in (2, 2.5, 5, 10):
            if scale_end / (factor * power) <= 6:
                return factor * power
    return scale_end

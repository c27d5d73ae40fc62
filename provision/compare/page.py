"""A comparison as one HTML page that needs nothing else: charts of the ratios, and the figures.

The shapes are computed here, the template draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.compare.candidates import LIMIT
from provision.compare.figures import SHOWN, Figure, Spread, ratios
from provision.compare.result import STEPS, Comparison
from provision.compare.text import better, number, remarks, share, summary
from provision.resources.render import render

NAMES, PLOT, LABELS, ROW, TOP = 110, 240, 120, 26, 22
"""Widths of a chart's columns, the height of a row, and what is above the first."""
LARGEST = 3.0
"""The largest ratio that is drawn: one that is fifty times slower must not hide the others."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One method: everything in the chart's own units, x from the left edge of the plot.

    `label` is the median, `span` the smallest and the largest.
    """

    name: str
    y: int
    middle: float
    low: float
    high: float
    dots: tuple[float, ...]
    label: str
    span: str
    beyond: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The ratios of one figure; `one` is where the limit stands."""

    title: str
    better: str
    bars: tuple[Bar, ...]
    one: float
    height: int
    ticks: tuple[tuple[float, str], ...]


def page(result: Comparison, title: str) -> str:
    """The page's text."""
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
        columns=SHOWN,
        cell=lambda course, figure: _cell(result.spread(course.candidate, figure)),
        between=lambda course, figure: _between(result.spread(course.candidate, figure)),
        beside=lambda course, figure: _beside(result.ratio(course.candidate, figure)),
        steps=STEPS,
        remarks=tuple(remarks(result))[:-1],
        summary=summary(result),
    )


def _cell(found: Spread | None) -> str:
    return number(found.middle) if found else "–"


def _beside(found: Spread | None) -> str:
    return f"× {share(found.middle)}" if found else ""


def _between(found: Spread | None) -> str:
    return f"{number(found.low)}–{number(found.high)}" if found and found.high else ""


def charts(result: Comparison) -> Iterator[Chart]:
    """A chart for each figure that has ratios."""
    for figure in SHOWN:
        found = {
            course.candidate: spread
            for course in result.shown
            if course.candidate != LIMIT and (spread := result.ratio(course.candidate, figure))
        }
        if found:
            yield _chart(result, figure, found)


def _chart(result: Comparison, figure: Figure, found: dict[str, Spread]) -> Chart:
    highest = max(1.0, *(spread.high for spread in found.values()))
    most = min(highest, LARGEST) * 1.05

    def x(ratio: float) -> float:
        return round(PLOT * min(ratio / most, 1.0), 1)

    bars = tuple(
        Bar(
            name,
            TOP + ROW * place,
            x(spread.middle),
            x(spread.low),
            x(spread.high),
            tuple(x(ratio) for ratio in ratios(result.readings, name, figure.key)),
            share(spread.middle),
            f"{share(spread.low)}–{share(spread.high)}",
            spread.middle > most,
        )
        for place, (name, spread) in enumerate(found.items())
    )
    step = _step(most)
    ticks = tuple((x(step * k), f"{step * k:g}") for k in range(1 + int(most / step)))
    height = TOP + ROW * len(bars) + 22
    return Chart(figure.title, better(figure), bars, x(1), height, ticks)


def _step(most: float) -> float:
    """A round distance between ticks, of which there are up to six."""
    for power in (0.1, 1.0, 10.0, 100.0, 1000.0):
        for part in (2, 2.5, 5, 10):
            if most / (part * power) <= 6:
                return part * power
    return most

"""A comparison → tables for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from provision.compare.candidates import LIMIT
from provision.compare.figures import SHOWN, Figure, Spread
from provision.compare.result import STEPS, Comparison, MethodResult

WIDTH = 120


def show(result: Comparison) -> None:
    """Print the tables of figures, ratios and times, and what was left out or failed."""
    # Where nobody looks at it yet, no column is cut for the sake of a narrow terminal.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)
    if result.readings:
        for table in (figures(result), ratios(result), times(result)):
            if table.row_count:
                console.print(table)
    for line in remarks(result):
        console.print(line, markup=False)


def figures(result: Comparison) -> Table:
    """The medians, as they were measured."""
    source, target = (machine.host for machine in result.machines)
    table = _table(f"from {source} to {target}: medians", ("method", "MTU"))
    for one in SHOWN:
        table.add_column(f"{one.short}\n{one.unit}", justify="right", no_wrap=True)
    for course in result.shown:
        found = [result.spread(course.candidate, one) for one in SHOWN]
        cells = [number(one.middle) if one else "–" for one in found]
        table.add_row(course.candidate, str(course.mtu or "–"), *cells)
    return table


def ratios(result: Comparison) -> Table:
    """Beside host to host: the median and, in brackets, the smallest and the largest."""
    title = "beside host to host = 1: median, smallest–largest (↑ more is better, ↓ less is)"
    table = _table(title, ("method",))
    with_ratio = [one for one in SHOWN if one.ratio]
    for one in with_ratio:
        table.add_column(f"{one.short} {'↑' if one.more else '↓'}", no_wrap=True)
    for course in result.shown:
        if course.candidate != LIMIT:
            cells = [ratio(result.ratio(course.candidate, one)) for one in with_ratio]
            table.add_row(course.candidate, *cells)
    return table


def times(result: Comparison) -> Table:
    """Seconds of `provision` itself."""
    table = _table("seconds to", ("method", *STEPS))
    for course in result.shown:
        if course.seconds:
            cells = [_seconds(course, step) for step in STEPS]
            table.add_row(course.candidate, *cells)
    return table


def _seconds(course: MethodResult, step: str) -> str:
    seconds = (course.seconds or {}).get(step)
    if seconds is None:
        return "–"
    how = f" (from {course.switched_from})" if step == "switch" else ""
    return f"{seconds:.1f}{how}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for word in columns:
        table.add_column(word, no_wrap=True)
    return table


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    if value == 0:
        return "0"
    places = max(0, 2 - _exponent(value))
    return f"{value:.{places}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def ratio(found: Spread | None) -> str:
    """`0.97`, and in the next line `0.95–0.99`."""
    if found is None:
        return "–"
    return f"{share(found.middle)}\n{share(found.low)}–{share(found.high)}"


def share(value: float) -> str:
    """A ratio: two places, as many as count above 10, and two digits of a small one."""
    if value >= 10:
        return number(value)
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:#.2g}"


def better(figure: Figure) -> str:
    """What the reader wishes for."""
    return f"{'more' if figure.more else 'less'} is better"


def remarks(result: Comparison) -> Iterator[str]:
    """Who was left out or failed, how it was measured, and on what."""
    for course in result.courses:
        if course.status in ("left out", "failed") and course.reason:
            yield f"{course.candidate}: {course.status}: {course.reason}"
    missed = [course.candidate for course in result.courses if course.status == "not reached"]
    if missed:
        yield f"not reached: {', '.join(missed)}"
    terms = result.terms
    yield (
        f"{terms.rounds} rounds of {terms.seconds} s for each measurement, UDP at "
        f"{terms.udp_mbit_s} Mbit/s; processor time is {cpu_of(result)}."
    )
    for machine in result.machines:
        yield (
            f"{machine.host}: {machine.system}, Linux {machine.kernel}, Docker {machine.docker}, "
            f"iperf3 {machine.iperf3}, {machine.processors} × {machine.processor or 'processor'}, "
            f"load {machine.load:g}"
        )
    busy = [one.host for one in result.machines if one.load > one.processors]
    if busy:
        names = " and ".join(busy)
        yield f"{names} had more to do than this: read ratios, and how far they spread."
    yield summary(result)


def cpu_of(result: Comparison) -> str:
    """What the processor time is of."""
    if result.shared_kernel:
        return "the whole machine's, as both hosts have one kernel"
    return "that of both hosts together"


def summary(result: Comparison) -> str:
    """One line."""
    done = sum(c.status == "compared" and c.candidate != LIMIT for c in result.courses)
    failed = sum(course.status == "failed" for course in result.courses)
    words = f"{done} methods compared, {failed} failed in {result.took_s:.0f} s."
    return f"interrupted: {words}" if result.interrupted else words

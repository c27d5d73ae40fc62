"""The tables of a comparison, for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from provision.checks.text import WIDE
from provision.compare.candidates import BASELINE
from provision.compare.figures import TABLE_FIGURES, Figure, Spread
from provision.compare.result import STEPS, Comparison, MethodResult
from provision.model.text import count


def show(result: Comparison) -> None:
    """Print the tables of figures, ratios and times, then the notes."""
    # highlight=False: rich would colour numbers, paths and quotes.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=WIDE)
    if result.measurements:
        for table in (figures_table(result), ratios_table(result), times_table(result)):
            if table.row_count:
                console.print(table)
    for line in notes(result):
        console.print(line, markup=False)


def figures_table(result: Comparison) -> Table:
    """The medians of all figures."""
    source, target = (host.host for host in result.hosts)
    table = _table(f"medians, from {source} to {target}", ("method", "MTU"))
    for figure in TABLE_FIGURES:
        table.add_column(f"{figure.short}\n{figure.unit}", justify="right", no_wrap=True)
    for method in result.measured:
        spreads = [result.spread(method.candidate, figure) for figure in TABLE_FIGURES]
        cells = [number_text(spread.median) if spread else "–" for spread in spreads]
        table.add_row(method.candidate, str(method.mtu or "–"), *cells)
    return table


def ratios_table(result: Comparison) -> Table:
    """The ratios to the baseline: median, smallest and largest."""
    title = "ratio to host to host: median, smallest–largest (↑ more, ↓ less is better)"
    table = _table(title, ("method",))
    columns = [figure for figure in TABLE_FIGURES if figure.has_ratio]
    for figure in columns:
        table.add_column(f"{figure.short} {'↑' if figure.more_is_better else '↓'}", no_wrap=True)
    for method in result.measured:
        if method.candidate != BASELINE:
            cells = [ratio_cell(result.ratio(method.candidate, figure)) for figure in columns]
            table.add_row(method.candidate, *cells)
    return table


def times_table(result: Comparison) -> Table:
    """The duration of provision's own steps."""
    table = _table("seconds that provision took to", ("method", *STEPS))
    for method in result.measured:
        if method.seconds:
            cells = [_seconds(method, step) for step in STEPS]
            table.add_row(method.candidate, *cells)
    return table


def _seconds(method: MethodResult, step: str) -> str:
    seconds = (method.seconds or {}).get(step)
    if seconds is None:
        return "–"
    source = f" (from {method.switched_from})" if step == "switch" else ""
    return f"{seconds:.1f}{source}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def number_text(value: float) -> str:
    """A value with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - _exponent(value))
    return f"{value:.{decimals}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def ratio_cell(spread: Spread | None) -> str:
    """`0.97`, and on the next line `0.95–0.99`."""
    if spread is None:
        return "–"
    return f"{ratio_text(spread.median)}\n{ratio_text(spread.low)}–{ratio_text(spread.high)}"


def ratio_text(value: float) -> str:
    """A ratio: two decimals, three significant digits from 10 up, two below 0.1."""
    if value >= 10:
        return number_text(value)
    return f"{value:.2f}" if value >= 0.1 or not value else f"{value:#.2g}"


def direction(figure: Figure) -> str:
    """`more is better` or `less is better`."""
    return f"{'more' if figure.more_is_better else 'less'} is better"


def notes(result: Comparison) -> Iterator[str]:
    """Methods that were left out, failed or not reached; settings and hosts; a summary."""
    for method in result.methods:
        if method.status in ("left out", "failed") and method.reason:
            yield f"{method.candidate}: {method.status}: {method.reason}"
    missed = [method.candidate for method in result.methods if method.status == "not reached"]
    if missed:
        yield f"not reached: {', '.join(missed)}"
    settings = result.settings
    yield (
        f"{count(settings.rounds, 'round')} of {settings.seconds} s for each measurement, UDP at "
        f"{settings.udp_mbit_s} Mbit/s. Processor time is that of {cpu_scope(result)}."
    )
    for host in result.hosts:
        yield (
            f"{host.host}: {host.system}, Linux {host.kernel}, Docker {host.docker}, "
            f"iperf3 {host.iperf3}, {host.processors} × {host.processor or 'processor'}, "
            f"load {host.load:g}"
        )
    busy = [host.host for host in result.hosts if host.load > host.processors]
    if busy:
        names = " and ".join(busy)
        verb = "was" if len(busy) == 1 else "were"
        yield f"{names} {verb} busy with other work: trust the ratios, and look at their ranges."
    yield summary(result)


def cpu_scope(result: Comparison) -> str:
    """The hosts that the processor time is measured on."""
    if result.shared_kernel:
        return "the whole machine, because both hosts share a kernel"
    return "both hosts together"


def summary(result: Comparison) -> str:
    """The numbers of compared and failed methods, and the duration."""
    compared = sum(m.status == "compared" and m.candidate != BASELINE for m in result.methods)
    failed = sum(method.status == "failed" for method in result.methods)
    text = f"{count(compared, 'method')} compared, {failed} failed in {result.took_s:.0f} s."
    return f"interrupted: {text}" if result.interrupted else text

"""Tables as text: framed on a terminal, in plain columns for other programs."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from provision.model.terminal import printable
from provision.show.tables import Table


def framed(tables: Iterable[Table], console: Console) -> None:
    """Print tables with frames; one that is too wide for the terminal as blocks of lines.

    Lines break only between words: an address is never cut.
    """
    for table in tables:
        widths = _widths(table, console.width)
        if widths is None:
            console.print(_blocks(table), soft_wrap=True)
        else:
            console.print(_rendered(table, framed=True, widths=widths))


def _widths(table: Table, limit: int) -> tuple[int, ...] | None:
    """The columns' widths within `limit`, none narrower than its longest word; None: impossible.

    rich itself takes space from the widest column first, and then breaks its words.
    """
    cells = [[_cell(name, framed=True) for name in column] for column in _columns(table)]
    least = [max(_longest_word(cell) for cell in column) for column in cells]
    natural = [max(max(map(len, cell.plain.split("\n"))) for cell in column) for column in cells]
    # SIMPLE_HEAD has a blank at both edges and between columns; each cell has one at both sides.
    spare = limit - sum(least) - 3 * len(cells) - 1
    if spare < 0:
        return None
    widths = []
    for narrow, wide in zip(least, natural, strict=True):
        added = min(spare, wide - narrow)
        widths.append(narrow + added)
        spare -= added
    return tuple(widths)


def _columns(table: Table) -> Iterable[tuple[str, ...]]:
    return zip(table.columns, *table.rows, strict=True)


def _longest_word(cell: Text) -> int:
    return max(map(len, cell.plain.split()), default=0)


def _blocks(table: Table) -> Text:
    """The table with a line for each value, and a block for each row."""
    width = max(map(len, table.columns))
    text = Text(f"{table.title}\n", style="bold")
    for row in table.rows:
        filled = [pair for pair in zip(table.columns, row, strict=True) if pair[1]]
        for number, (column, value) in enumerate(filled):
            lead = "  " if number else "- "
            text.append(f"{lead}{column:<{width}}  {printable(value)}\n", style="not bold")
    return text


def plain(tables: Iterable[Table]) -> str:
    """Tables for other programs: one line for each row, however long, and `-` for no value."""
    stream = io.StringIO()
    # rich wraps or cuts at the console's width, and pads every row to it.
    console = Console(file=stream, width=100_000, color_system=None, legacy_windows=False)
    for table in tables:
        console.print(_rendered(table, framed=False))
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip() + "\n"


def _rendered(table: Table, *, framed: bool, widths: tuple[int, ...] = ()) -> RichTable:
    rendered = RichTable(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if framed else None,
        pad_edge=framed,
        show_edge=framed,
    )
    for number, column in enumerate(table.columns):
        numeric = column in ("packets", "bytes", "mtu")
        rendered.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold" if framed else "ignore",
            no_wrap=not framed,
            width=widths[number] if widths else None,
        )
    for row in table.rows:
        rendered.add_row(*(_cell(value, framed=framed) for value in row))
    return rendered


def _cell(value: str, *, framed: bool) -> Text:
    # A Text, because rich reads markup such as [red] in a plain string.
    text = printable(value)
    if not framed:
        return Text(text or "-")
    return Text(text.replace("; ", "\n"), style="red" if value == "missing" else "")

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
    """Print tables with frames, cells wrapped to the terminal's width."""
    for table in tables:
        console.print(_rendered(table, framed=True))


def plain(tables: Iterable[Table]) -> str:
    """Tables for other programs: one line for each row, however long, and `-` for no value."""
    stream = io.StringIO()
    # rich wraps or cuts at the console's width, and pads every row to it.
    console = Console(file=stream, width=100_000, color_system=None, legacy_windows=False)
    for table in tables:
        console.print(_rendered(table, framed=False))
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip() + "\n"


def _rendered(table: Table, *, framed: bool) -> RichTable:
    rendered = RichTable(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if framed else None,
        pad_edge=framed,
        show_edge=framed,
    )
    for column in table.columns:
        numeric = column in ("packets", "bytes", "mtu")
        rendered.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold" if framed else "ignore",
            no_wrap=not framed,
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

"""Tables → the terminal, by rich; where there is none, words in columns without frames."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text

from provision.model.terminal import printable
from provision.show.tables import Table


def framed(tables: Iterable[Table], console: Console) -> None:
    """Print tables on a terminal: with frames, and wrapped to its width."""
    for table in tables:
        console.print(_drawn(table, framed=True))


def plain(tables: Iterable[Table]) -> str:
    """Tables as lines that fit any tool: a row is a line, however long, and `-` is nothing."""
    stream = io.StringIO()
    console = Console(file=stream, width=100_000, color_system=None, legacy_windows=False)
    for table in tables:
        console.print(_drawn(table, framed=False))
        console.print()
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip() + "\n"


def _drawn(table: Table, *, framed: bool) -> Drawn:
    drawn = Drawn(
        title=Text(table.title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD if framed else None,
        pad_edge=framed,
        show_edge=framed,
    )
    for column in table.columns:
        number = column in ("packets", "bytes", "mtu")
        drawn.add_column(
            column,
            justify="right" if number else "left",
            overflow="fold" if framed else "ignore",
            no_wrap=not framed,
        )
    for row in table.rows:
        drawn.add_row(*(_cell(word, framed=framed) for word in row))
    return drawn


def _cell(word: str, *, framed: bool) -> Text:
    text = printable(word)
    if not framed:
        return Text(text or "-")
    return Text(text.replace("; ", "\n"), style="red" if word == "missing" else "")

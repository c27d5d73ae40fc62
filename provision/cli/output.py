"""Output of all commands. Text from hosts is made printable first."""

from __future__ import annotations

from collections.abc import Iterable

import click

from provision.cli import streams
from provision.model.errors import HostError, ProvisionError
from provision.model.terminal import printable


def print_error(error: ProvisionError) -> None:
    """Print an error and its hint to standard error."""
    prefix = f"{error.host}: " if isinstance(error, HostError) else ""
    for line in error.message.splitlines() or [""]:
        click.secho(f"{prefix}{printable(line)}", err=True, fg="red")
    if error.hint:
        click.echo(f"  → {printable(error.hint)}", err=True)


def print_warning(line: str) -> None:
    """Print a line to standard error, but do not wait long for it to be taken."""
    streams.say(printable(line))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to standard output."""
    for line in lines:
        click.echo(printable(line))

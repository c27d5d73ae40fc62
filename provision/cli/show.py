"""show, graph: the verbs that say what is there, and judge nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.options import FILE, Call, on_hosts, say_error
from provision.model.errors import UsageError

if TYPE_CHECKING:
    from provision.show.graph.verdict import Verdict
    from provision.show.view import View


@click.command()
@on_hosts
def show(call: Call) -> int:
    """Show bridges and their ports, containers, NAT rules and networks, as found on the hosts."""
    found = _seen(call)
    if call.as_json:
        from provision.show.shape import shape

        click.echo(json.dumps(shape(found), indent=2))
    else:
        _print(found)
        _complain(found)
    return found.exit_status


@click.command()
@on_hosts
@click.option(
    "--format",
    "form",
    type=click.Choice(["svg", "dot", "mermaid", "text"]),
    help="[by -o's suffix .svg, .dot, .gv, .mmd, .txt; else text]",
)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="The file to write [stdout].")
@click.option("--verify", type=FILE, metavar="FILE", help="Colours by what verify --json found.")
def graph(call: Call, form: str | None, output: Path | None, verify: Path | None) -> int:
    """Draw the hosts as found: NICs, bridges, tunnels, and containers on their veth pairs."""
    if call.as_json:
        raise UsageError("graph draws, it has no JSON", "provision show --json has all of it")
    chosen = form or _by_suffix(output)
    verdict = _verdict(verify) if verify else None
    found = _seen(call)
    from provision.show.graph.draw import drawing
    from provision.show.graph.formats import FORMS

    drawn = FORMS[chosen](drawing(found, verdict))
    if output is None:
        click.echo(drawn, nl=False)
    else:
        _write(output, drawn)
    _complain(found)
    return found.exit_status


def _seen(call: Call) -> View:
    with call.session() as (session, hosts):
        from provision.show.view import view

        return view(session, hosts)


def _print(found: View) -> None:
    from rich.console import Console

    from provision.show.tables import tables
    from provision.show.text import framed, plain

    if sys.stdout.isatty():
        framed(tables(found), Console(file=sys.stdout, highlight=False))
    else:
        click.echo(plain(tables(found)), nl=False)


def _complain(found: View) -> None:
    from provision.show.tables import remarks

    for line in remarks(found):
        click.echo(line, err=True)
    for error in found.errors:
        say_error(error)


def _by_suffix(output: Path | None) -> str:
    from provision.show.graph.formats import SUFFIXES

    if output is None:
        return "text"
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"-o {output}: its suffix names no format", "say --format svg|dot|mermaid|text"
        )
    return SUFFIXES[output.suffix.lower()]


def _verdict(path: Path) -> Verdict:
    from provision.show.graph.verdict import read

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"--verify {path}: {reason}") from error
    return read(text, f"--verify {path}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"-o {path}: {error.strerror}") from error

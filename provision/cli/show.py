"""show, graph: commands that report the state of hosts, without judging it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.invocation import Invocation
from provision.cli.options import FILE, host_options
from provision.cli.output import print_error, print_warning
from provision.model.errors import UsageError

if TYPE_CHECKING:
    from provision.show.graph.verdict import Verdict
    from provision.show.view import View


@click.command()
@host_options
def show(invocation: Invocation) -> int:
    """Show bridges, containers, NAT rules and networks on the hosts.

    Includes those that provision did not make.
    """
    state = _view(invocation)
    if invocation.as_json:
        from provision.show.shape import shape

        click.echo(json.dumps(shape(state), indent=2))
    else:
        _print(state)
        _print_problems(state)
    return state.exit_status


@click.command()
@host_options
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["svg", "dot", "mermaid", "text", "json"]),
    help="Format of the drawing.  [default: by FILE's suffix .svg, .dot, .gv, .mmd, .txt or .json,"
    " else text]",
)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="File to write.  [default: stdout]")
@click.option(
    "--verify",
    type=FILE,
    metavar="FILE",
    help="Colour the drawing by the results in FILE, the output of `verify --json`.",
)
def graph(
    invocation: Invocation, format_name: str | None, output: Path | None, verify: Path | None
) -> int:
    """Draw NICs, bridges, routes, tunnels and containers of the hosts.

    Shows the current state of the hosts, which may differ from the inventory.
    """
    if invocation.as_json and format_name not in (None, "json"):
        raise UsageError(f"--json and --format {format_name} exclude each other", "use one of them")
    format_name = "json" if invocation.as_json else format_name or _format_by_suffix(output)
    verdict = _verdict(verify) if verify else None
    with invocation.outputs(("-o", output), inputs=(verify,)) as (file,):
        state = _view(invocation)
        from provision.show.graph.draw import drawing
        from provision.show.graph.formats import FORMATS

        text = FORMATS[format_name](drawing(state, verdict))
        if file is None:
            click.echo(text, nl=False)
        else:
            file.write(text)
    _print_problems(state)
    return state.exit_status


def _view(invocation: Invocation) -> View:
    with invocation.session() as (session, hosts):
        from provision.show.view import view

        return view(session, hosts)


def _print(state: View) -> None:
    from rich.console import Console

    from provision.show.tables import tables
    from provision.show.text import framed, plain

    if sys.stdout.isatty():
        # highlight=False: rich would colour numbers, paths and quotes.
        framed(tables(state), Console(file=sys.stdout, highlight=False))
    else:
        click.echo(plain(tables(state)), nl=False)


def _print_problems(state: View) -> None:
    from provision.show.tables import warnings

    for line in warnings(state):
        print_warning(line)
    for error in state.errors:
        print_error(error)


def _format_by_suffix(output: Path | None) -> str:
    from provision.show.graph.formats import SUFFIXES

    if output is None:
        return "text"
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"-o {output}: the suffix belongs to no format",
            "use --format svg|dot|mermaid|text|json",
        )
    return SUFFIXES[output.suffix.lower()]


def _verdict(path: Path) -> Verdict:
    from provision.model.fields.files import read_regular
    from provision.model.findings import BadValueError
    from provision.show.graph.verdict import SIZE_LIMIT, read

    try:
        text = read_regular(path, SIZE_LIMIT).decode()
    except BadValueError as error:
        raise UsageError(f"--verify {path}: {error.message}", error.hint) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--verify {path}: not a text file") from error
    return read(text, f"--verify {path}")

"""compare: the command that measures each method on the user's hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.invocation import Invocation
from provision.cli.options import FILE, host_options
from provision.cli.output import print_error, print_warning

if TYPE_CHECKING:
    from provision.compare.result import Comparison


@click.command()
@host_options
@click.option(
    "--methods",
    metavar="A,B",
    help="Compare only these methods. host, the path from host to host, is the baseline and is"
    " always measured.  [default: every method that the hosts support]",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 60),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="Duration of each measurement.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="Measure every method N times, in turn.",
)
@click.option(
    "--udp-rate",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="MBIT",
    help="Rate of the UDP stream that packet loss is measured on.",
)
@click.option(
    "--pool",
    metavar="CIDR",
    help="Unused addresses in the hosts' LAN, for containers on it.  [default: search for them]",
)
@click.option("--html", type=FILE, metavar="FILE", help="Also write the results as one HTML page.")
def compare(
    invocation: Invocation,
    methods: str | None,
    seconds: int,
    rounds: int,
    udp_rate: int,
    pool: str | None,
    html: Path | None,
) -> int:
    """Measure throughput and latency of each method on the hosts.

    Deploys the methods with containers for the test, measures them, and removes them again. What
    the inventory has made on the hosts stays.
    """
    from provision.compare import candidates
    from provision.compare.result import Settings, as_json

    chosen = candidates.chosen(methods)
    settings = Settings(seconds, rounds, udp_rate)
    with invocation.outputs(("--html", html)) as (file,):
        with invocation.session() as (session, hosts):
            from dataclasses import replace

            from provision.compare.run import compared

            # A comparison takes minutes: print its progress, on a terminal or not.
            session = replace(session, say=print_warning)
            result = compared(
                session,
                hosts,
                chosen,
                settings,
                pool=pool,
                strict=methods is not None,
            )
        if file is not None:
            from provision.compare.page import page

            file.write(page(result, invocation.path.name))
    if invocation.as_json:
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        _show(result)
    return result.exit_status


def _show(result: Comparison) -> None:
    from provision.compare.text import show

    show(result)
    for error in result.errors:
        print_error(error)

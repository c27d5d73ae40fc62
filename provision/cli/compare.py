"""compare: which network between hosts is how fast, measured on the user's own."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from provision.cli.options import FILE, Call, on_hosts, say_error
from provision.model.errors import UsageError
from provision.model.terminal import printable

if TYPE_CHECKING:
    from provision.compare.result import Comparison


@click.command()
@on_hosts
@click.option("--methods", metavar="A,B", help="Only these [all that can be]; host is the limit.")
@click.option(
    "--seconds",
    type=click.IntRange(1, 60),
    default=2,
    show_default=True,
    help="Of each measurement.",
)
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option(
    "--udp-rate",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    metavar="MBIT",
    help="Mbit/s that are sent where the loss is measured.",
)
@click.option(
    "--pool", metavar="CIDR", help="Free addresses of the hosts' LAN, for pipework [looked for]."
)
@click.option("--html", type=FILE, metavar="FILE", help="A page to write, whole in one file.")
def compare(
    call: Call,
    methods: str | None,
    seconds: int,
    rounds: int,
    udp_rate: int,
    pool: str | None,
    html: Path | None,
) -> int:
    """Make each method in turn, measure it beside host to host, and remove it again."""
    from provision.compare import candidates
    from provision.compare.result import Settings, as_json

    if html is not None and not html.resolve().parent.is_dir():
        raise UsageError(f"--html {html}: there is no such folder")
    chosen, lacking = candidates.chosen(methods)
    terms = Settings(seconds, rounds, udp_rate)
    with call.session() as (session, hosts), _ended_gently():
        from dataclasses import replace

        from provision.compare.run import compared

        session = replace(session, say=_say)
        result = compared(
            session, hosts, chosen, terms, lacking=lacking, pool=pool, strict=methods is not None
        )
    if html is not None:
        from provision.compare.page import page

        html.write_text(page(result, call.path.name))
    if call.as_json:
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        _show(result)
    return result.exit_status


def _say(line: str) -> None:
    """Minutes pass here: every line of progress is said, on a terminal or not."""
    click.echo(printable(line), err=True)


def _show(result: Comparison) -> None:
    from provision.compare.text import show

    show(result)
    for error in result.errors:
        say_error(error)


@contextmanager
def _ended_gently() -> Iterator[None]:
    """A lost terminal or a `kill` is like Ctrl-C: what stands is destroyed."""
    # What is ignored stays so: that is what `nohup` is for.
    earlier = {
        number: signal.signal(number, _interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt

"""plan, apply, destroy, verify: commands that compare hosts with an inventory and change them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.invocation import Invocation
from provision.cli.options import (
    FILE,
    TAKE_OVER,
    host_options,
    host_options_or_plan,
)
from provision.cli.output import print_error, print_lines
from provision.cli.strategy import StrategyOptions, strategy_options
from provision.model.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from provision.checks.run import Verification
    from provision.engine.fleet import Session
    from provision.engine.report import Report


LARGEST_SEED = 2**32 - 1

show_secrets_option = click.option(
    "--show-secrets", is_flag=True, help="Print values of environment variables, and passwords."
)


@click.command()
@host_options
@TAKE_OVER
@show_secrets_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 when there are changes.")
@click.option(
    "-o",
    "--output",
    type=FILE,
    metavar="FILE",
    help="Also save the plan, for `apply --plan FILE`.",
)
def plan(
    invocation: Invocation,
    take_over: bool,
    show_secrets: bool,
    detailed_exitcode: bool,
    output: Path | None,
) -> int:
    """Show the changes that apply would make.

    Changes nothing. A line that begins with ! tells what a change disturbs.
    """
    from provision.engine import apply as engine
    from provision.engine.plan_text import plan_lines
    from provision.engine.report import plan_json

    with invocation.outputs(("-o", output), private=True) as (file,):
        with invocation.session() as (session, hosts):
            planned = engine.preview(session, hosts, take_over=take_over)
        _print_report(
            invocation,
            planned,
            partial(plan_json, show_secrets=show_secrets),
            partial(plan_lines, show_secrets=show_secrets),
        )
        if planned.conflicts:
            return ExitStatus.CONFLICT
        if file is not None and not planned.errors:
            from provision.engine.saved_plan import text

            file.write(text(invocation.path, invocation.limit, planned))
    if planned.results and detailed_exitcode:
        return planned.exit_status or ExitStatus.CHANGES
    return planned.exit_status


@click.command()
@host_options_or_plan
@click.option(
    "--plan",
    "saved",
    type=FILE,
    metavar="FILE",
    help="Make exactly the changes that `plan -o FILE` saved.",
)
@click.option(
    "--restart-docker",
    is_flag=True,
    help="Restart Docker where only that brings its firewall rules back.",
)
@strategy_options
def apply(
    invocation: Invocation, saved: Path | None, restart_docker: bool, strategy: StrategyOptions
) -> int:
    """Change the hosts to match the inventory.

    Each host rolls the change back by itself unless it is confirmed in time. apply confirms it
    over a new SSH connection to each host.
    """
    if (invocation.path is None) == (saved is None):
        raise UsageError(
            "apply needs an inventory, or --plan FILE", "give one of the two, and not both"
        )
    strategy.restart_docker = restart_docker
    if saved is not None:
        return _apply_saved(invocation, saved, strategy)
    with invocation.session() as (session, hosts):
        # Imported inside the session, while the connections open; see Invocation.session.
        from provision.checks.doctor.examine import asking, examiner
        from provision.engine import apply as engine

        examine = examiner(session)
        options = strategy.apply_options(hosts)
        result = engine.converge(asking(session), hosts, options, examine=examine)
    return print_result(invocation, result)


def _apply_saved(invocation: Invocation, path: Path, strategy: StrategyOptions) -> int:
    from provision.engine.saved_plan import read, require_same

    if invocation.limit is not None:
        raise UsageError(
            "--limit cannot be used with --plan", "leave it out: the plan names its hosts"
        )
    saved = read(path)
    invocation.path, invocation.limit = saved.inventory, saved.limit
    with invocation.session() as (session, hosts):
        from provision.checks.doctor.examine import asking, examiner
        from provision.engine import apply as engine

        result = engine.converge(
            asking(session),
            hosts,
            strategy.apply_options(hosts),
            approve=lambda changes: require_same(saved, changes),
            examine=examiner(session),
        )
    return print_result(invocation, result)


@click.command()
@host_options
@strategy_options
def destroy(invocation: Invocation, strategy: StrategyOptions) -> int:
    """Remove everything that this inventory created on the hosts.

    Also restores the settings that were changed, such as sysctls and NICs. Shows the changes
    and asks first, unless --yes is given.
    """
    from provision.engine import apply as engine
    from provision.engine.plan_text import plan_lines

    # Checked before a host is contacted.
    invocation.require_terminal()
    with invocation.session() as (session, hosts):
        if not invocation.yes:
            planned = engine.preview(session, hosts, destroy=True, take_over=strategy.take_over)
            print_lines(plan_lines(planned))
            if planned.conflicts:
                return ExitStatus.CONFLICT
            if planned.results:
                invocation.require_confirmation("Make these changes?")
        result = engine.converge(session, hosts, strategy.apply_options(hosts, destroy=True))
    return print_result(invocation, result)


@click.command()
@host_options
@click.option("--junit", type=FILE, metavar="FILE", help="Also write the results as JUnit XML.")
@click.option("--html", type=FILE, metavar="FILE", help="Also write the results as one HTML page.")
@click.option(
    "-k", "expression", metavar="EXPR", help="Run only the checks that match, like pytest -k."
)
@click.option(
    "--pairs",
    metavar="PAIRS",
    help="Pairs of containers to check: all; hosts, a ring in which each host is source and target"
    " once; or sample:K, that ring and K random targets for each container.  [default: all up to"
    " 50 containers, sample:4 above]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    metavar="N",
    help="Draw the sample that an earlier verify with this seed has drawn.",
)
@click.option(
    "--all",
    "everyone",
    is_flag=True,
    help="Also check containers on the networks that the inventory does not declare.",
)
@click.option(
    "--no-explain",
    is_flag=True,
    help="Do not follow a packet of the pairs that fail (see explain).",
)
def verify(
    invocation: Invocation,
    junit: Path | None,
    html: Path | None,
    expression: str | None,
    pairs: str | None,
    seed: int | None,
    everyone: bool,
    no_explain: bool,
) -> int:
    """Check from inside the containers that they reach each other.

    Also reports drift: differences between the hosts and the inventory.
    """
    import secrets

    from provision.checks.pair_choice import choice

    choose = partial(choice, pairs, seed, fresh_seed=secrets.randbelow(LARGEST_SEED))
    choose(containers=0)  # raises UsageError before a host is contacted
    from provision.checks.run import as_interrupted, run_checks
    from provision.checks.text import as_json, show

    outputs = (("--junit", junit), ("--html", html))
    with invocation.outputs(*outputs) as (junit_file, html_file):
        with invocation.session() as (session, hosts):
            containers = invocation.inventory.members.values()
            chosen = choose(containers=sum(container.host in hosts for container in containers))
            result = run_checks(
                session,
                hosts,
                junit=junit_file is not None,
                expression=expression,
                choice=chosen,
                versions=html_file is not None,
                follow=not no_explain,
                everyone=everyone,
            )
            drawing = ""
            if html_file is not None:
                try:
                    drawing = _drawing(session, hosts, result)
                except KeyboardInterrupt:  # the results are there
                    result = as_interrupted(result, junit=junit_file is not None)
        if junit_file is not None:
            junit_file.write(result.junit)
        if html_file is not None:
            from provision.checks.page import page

            date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
            html_file.write(page(result, invocation.path.name, date=date, drawing=drawing))
    if invocation.as_json:
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        show(result, verbose=invocation.verbose)
        for error in result.errors:
            print_error(error)
    return result.exit_status


def _drawing(session: Session, hosts: tuple[str, ...], result: Verification) -> str:
    """The wiring of the hosts as SVG, coloured by the result; empty after an interruption."""
    from provision.checks.text import as_json
    from provision.show.graph.draw import drawing
    from provision.show.graph.formats import FORMATS
    from provision.show.graph.verdict import read
    from provision.show.view import view

    if result.interrupted:
        return ""
    verdict = read(json.dumps(as_json(result)), "verify")
    return FORMATS["svg"](drawing(view(session, hosts), verdict))


def print_result(invocation: Invocation, result: Report) -> int:
    """Print the result of a change, and return its exit status."""
    from provision.engine import report

    _print_report(invocation, result, report.result_json, report.result_lines)
    return result.exit_status


def _print_report(
    invocation: Invocation,
    report: Report,
    as_json: Callable[[Report], dict[str, Any]],
    as_lines: Callable[[Report], Iterable[str]],
) -> None:
    """Print a report and its errors as JSON or as text."""
    if invocation.as_json:
        from provision.engine.report import errors_json

        errors = errors_json(report.errors)
        shape = as_json(report) | ({"errors": errors} if errors else {})
        click.echo(json.dumps(shape, indent=2))
        return
    print_lines(as_lines(report))
    for error in report.errors:
        print_error(error)

"""plan, apply, destroy, verify: the verbs that look at hosts and change them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.options import (
    FILE,
    Call,
    StrategyOptions,
    echo,
    on_hosts,
    on_hosts_or_plan,
    say_error,
    under_guard,
)
from provision.model.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from provision.engine.report import Report


@click.command()
@on_hosts
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 when changes are pending.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Save it for apply --plan FILE.")
def plan(call: Call, detailed_exitcode: bool, output: Path | None) -> int:
    """Say what apply would change, and what it would disturb."""
    from provision.engine import apply as engine
    from provision.engine import report

    with call.session() as (session, hosts):
        found = engine.planned(session, hosts)
    _tell(call, found, report.plan_json, report.plan_lines)
    if found.conflicts:
        return ExitStatus.CONFLICT
    if output is not None and not found.errors:
        from provision.engine.saved_plan import save

        save(output, call.path, call.limit, found)
    if found.done and detailed_exitcode:
        return found.exit_status or ExitStatus.CHANGES
    return found.exit_status


@click.command()
@on_hosts_or_plan
@click.option(
    "--plan", "saved", type=FILE, metavar="FILE", help="Make just what `plan -o FILE` has said."
)
@under_guard
def apply(call: Call, saved: Path | None, how: StrategyOptions) -> int:
    """Make the hosts as the inventory says."""
    if (call.path is None) == (saved is None):
        raise UsageError("apply takes an inventory, or --plan FILE", "name one of the two")
    if saved is not None:
        return _apply_saved(call, saved, how)
    with call.session() as (session, hosts):
        from provision.engine import apply as engine

        done = engine.change(session, hosts, how.engine(hosts))
    return _changed(call, done)


def _apply_saved(call: Call, saved: Path, how: StrategyOptions) -> int:
    from provision.engine.saved_plan import read, still_true

    if call.limit is not None:
        raise UsageError("--limit and --plan do not go together", "the plan says which hosts")
    found = read(saved)
    call.path, call.limit = found.inventory, found.limit
    with call.session() as (session, hosts):
        from provision.engine import apply as engine

        done = engine.change(
            session, hosts, how.engine(hosts), agreed=lambda todo: still_true(found, todo)
        )
    return _changed(call, done)


@click.command()
@on_hosts
@under_guard
def destroy(call: Call, how: StrategyOptions) -> int:
    """Remove everything that carries this inventory's mark; hosts are as they were before."""
    from provision.engine import apply as engine
    from provision.engine import report

    if not call.yes and not sys.stdin.isatty():
        raise UsageError("destroy asks first, and there is no terminal", "say --yes")
    with call.session() as (session, hosts):
        if not call.yes:
            found = engine.planned(session, hosts, destroy=True)
            echo(report.plan_lines(found))
            if found.done:
                call.agreed("Remove all of this?")
        done = engine.change(session, hosts, how.engine(hosts, destroy=True))
    return _changed(call, done)


@click.command()
@on_hosts
@click.option("--junit", type=FILE, metavar="FILE", help="JUnit XML to write.")
@click.option("--html", type=FILE, metavar="FILE", help="A page to write, whole in one file.")
@click.option("-k", "expression", metavar="EXPR", help="Only checks that match, as pytest's -k.")
def verify(call: Call, junit: Path | None, html: Path | None, expression: str | None) -> int:
    """Prove from inside the containers that they reach each other, and that nothing drifted."""
    from provision.checks.run import verified
    from provision.checks.text import as_json, show

    with call.session() as (session, hosts):
        result = verified(session, hosts, junit=junit, expression=expression)
    if html is not None:
        from provision.checks.page import page

        html.write_text(page(result, call.path.name))
    if call.as_json:
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        show(result)
        for error in result.errors:
            say_error(error)
    return result.exit_status


def _changed(call: Call, done: Report) -> int:
    from provision.engine import report

    _tell(call, done, report.done_json, report.done_lines)
    return done.exit_status


def _tell(
    call: Call,
    found: Report,
    shape: Callable[[Report], dict[str, Any]],
    lines: Callable[[Report], Iterable[str]],
) -> None:
    """A report in the form that was asked for, with what went wrong."""
    if call.as_json:
        from provision.engine.report import errors_json

        errors = errors_json(found.errors)
        click.echo(json.dumps(shape(found) | ({"errors": errors} if errors else {}), indent=2))
        return
    echo(lines(found))
    for error in found.errors:
        say_error(error)

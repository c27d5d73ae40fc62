"""confirm, status, recover: commands for a pending change, which work from any machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from provision.cli.invocation import Invocation
from provision.cli.options import host_options
from provision.cli.output import print_error, print_lines
from provision.model.errors import ExitStatus

if TYPE_CHECKING:
    from provision.engine.recovery import FleetStatus


@click.command()
@host_options
def status(invocation: Invocation) -> int:
    """Show the last change on each host and its outcome."""
    with invocation.session() as (session, hosts):
        from provision.engine import recovery

        return _print_status(invocation, recovery.fleet_status(session, hosts))


@click.command()
@host_options
@click.option("--txn", metavar="ID", help="Change to confirm, if several are pending.")
@click.option("--force", is_flag=True, help="Also confirm a change made from another machine.")
def confirm(invocation: Invocation, txn: str | None, force: bool) -> int:
    """Confirm a pending change (see apply --manual).

    The hosts keep the change. Confirms it on all of its hosts, or on none if one does not answer.
    """
    with invocation.session() as (session, hosts):
        from provision.engine import recovery

        return _print_status(invocation, recovery.confirm(session, hosts, txn=txn, force=force))


@click.command()
@host_options
def recover(invocation: Invocation) -> int:
    """End the changes that an interrupted run left pending.

    Confirms a change that one of its hosts has confirmed, and rolls back every other one.
    """
    with invocation.session() as (session, hosts):
        from provision.engine import recovery

        return _print_status(invocation, recovery.recover(session, hosts))


def _print_status(invocation: Invocation, status: FleetStatus) -> int:
    if invocation.as_json:
        from provision.engine.report import errors_json, interrupted_json
        from provision.engine.status import describe_all

        changes = {host: asdict(record) for host, record in status.latest.items()}
        errors = errors_json((*status.errors.values(), *status.refusals.values()))
        shape = {"hosts": describe_all(status.outcomes), "changes": changes}
        shape |= interrupted_json(status.interrupted)
        click.echo(json.dumps(shape | ({"errors": errors} if errors else {}), indent=2))
    else:
        print_lines(_lines(status))
        for error in (*status.errors.values(), *status.refusals.values()):
            print_error(error)
    return _exit_status(status)


def _exit_status(status: FleetStatus) -> ExitStatus:
    from provision.engine.outcome import OutcomeKind

    if status.interrupted:
        return ExitStatus.INTERRUPTED
    unknown = any(outcome.kind is OutcomeKind.UNKNOWN for outcome in status.outcomes.values())
    if unknown or status.refusals:
        return ExitStatus.MIXED
    return ExitStatus.HOST if status.errors else ExitStatus.OK


def _lines(status: FleetStatus) -> list[str]:
    from provision.engine.status import describe

    width = max((len(host) for host in status.hosts), default=0)
    lines = []
    for host, outcome in status.outcomes.items():
        record = status.latest.get(host)
        line = f"{host:<{width}}  {describe(outcome)}"
        if record is not None:
            line += f"  ({record.verb} of {record.inventory} by {record.owner}, {record.id})"
        lines.append(line)
    return [*lines, "Interrupted."] if status.interrupted else lines

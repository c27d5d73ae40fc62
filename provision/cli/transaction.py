"""confirm, status, recover: the change that is under way on hosts, from any machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from provision.cli.options import Call, echo, on_hosts, say_error
from provision.model.errors import ExitStatus

if TYPE_CHECKING:
    from provision.engine.recovery import FleetStatus


@click.command()
@on_hosts
def status(call: Call) -> int:
    """Say what each host's last change is, and what became of it; changes nothing."""
    with call.session() as (session, hosts):
        from provision.engine import recovery

        return _tell(call, recovery.fleet_status(session, hosts))


@click.command()
@on_hosts
@click.option("--txn", metavar="ID", help="Which change, where more than one waits.")
@click.option("--force", is_flag=True, help="Also one that was not made from this machine.")
def confirm(call: Call, txn: str | None, force: bool) -> int:
    """Keep the change that waits for it (apply --manual)."""
    with call.session() as (session, hosts):
        from provision.engine import recovery

        return _tell(call, recovery.confirm(session, hosts, txn=txn, force=force))


@click.command()
@on_hosts
def recover(call: Call) -> int:
    """End what an interrupted run has left: kept where a host has kept it, else undone."""
    with call.session() as (session, hosts):
        from provision.engine import recovery

        return _tell(call, recovery.recover(session, hosts))


def _tell(call: Call, found: FleetStatus) -> int:
    if call.as_json:
        from provision.engine.report import errors_json
        from provision.engine.status import describe_all

        changes = {host: asdict(record) for host, record in found.latest.items()}
        errors = errors_json(found.errors.values())
        shape = {"hosts": describe_all(found.outcomes), "changes": changes}
        click.echo(json.dumps(shape | ({"errors": errors} if errors else {}), indent=2))
    else:
        echo(_lines(found))
        for error in found.errors.values():
            say_error(error)
    from provision.engine.outcome import OutcomeKind

    if any(outcome.kind is OutcomeKind.UNKNOWN for outcome in found.outcomes.values()):
        return ExitStatus.MIXED
    return ExitStatus.HOST if found.errors else ExitStatus.OK


def _lines(found: FleetStatus) -> list[str]:
    from provision.engine.status import describe

    width = max((len(host) for host in found.hosts), default=0)
    lines = []
    for host, outcome in found.outcomes.items():
        record = found.latest.get(host)
        line = f"{host:<{width}}  {describe(outcome)}"
        if record is not None:
            line += f"  ({record.verb} of {record.inventory} by {record.owner}, {record.id})"
        lines.append(line)
    return lines

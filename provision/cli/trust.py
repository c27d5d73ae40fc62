"""trust: the command that records the host keys of new hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.invocation import Invocation, load
from provision.cli.options import host_options
from provision.cli.output import print_error, print_warning
from provision.model.errors import ExitStatus
from provision.model.text import count
from provision.transport.project_files import nearest

if TYPE_CHECKING:
    from provision.cli.host_keys import Survey
    from provision.model.errors import HostError
    from provision.model.inventory import Inventory


@click.command()
@host_options
def trust(invocation: Invocation) -> int:
    """Record the SSH host keys of new hosts.

    Shows the fingerprint of each new key, asks, and records the keys in .provision/known_hosts.
    """
    from provision.cli.host_keys import changed_key
    from provision.inventory.limit import select

    inventory = load(invocation.path)
    hosts = select(inventory, invocation.limit)
    path = nearest(invocation.path, "known_hosts")
    path = path or invocation.path.resolve().parent / ".provision" / "known_hosts"
    result, recorded = _record_new(invocation, inventory, hosts, path)
    changed = (changed_key(offer) for offer in result.of("changed"))
    return _print_result(invocation, result, recorded, (*result.errors, *changed))


def _record_new(
    invocation: Invocation, inventory: Inventory, hosts: Iterable[str], path: Path
) -> tuple[Survey, set[str]]:
    """Ask the hosts for their keys, record the new ones; return all keys and recorded names."""
    from provision.cli.host_keys import record, survey

    recorded: set[str] = set()
    transport = invocation.transport(inventory)
    for warning in transport.warnings(hosts):
        print_warning(warning)
    result = survey(transport, inventory, hosts, jobs=invocation.jobs)
    while new := result.of("new"):
        for offer in new:
            click.echo(f"{offer.host} ({offer.name}): {offer.kind} {offer.fingerprint}", err=True)
        keys = "this key" if len(new) == 1 else f"these {count(len(new), 'key')}"
        invocation.require_confirmation(f"Record {keys} in {path}?")
        record(path, new)
        recorded |= {offer.name for offer in new}
        # A host can be asked once its jump host's key is recorded. Hosts that have answered are
        # not asked again: sshd counts connections without a login, and refuses clients that
        # make many of them (PerSourcePenalties, OpenSSH 9.8).
        remaining = [host for host in hosts if host not in result.asked]
        transport = invocation.transport(inventory)
        result = result.after_recording() + survey(
            transport, inventory, remaining, jobs=invocation.jobs
        )
    return result, recorded


def _print_result(
    invocation: Invocation, result: Survey, recorded: set[str], errors: tuple[HostError, ...]
) -> int:
    if invocation.as_json:
        from provision.engine.report import errors_json

        keys = [asdict(offer) | {"recorded": offer.name in recorded} for offer in result.offers]
        click.echo(json.dumps({"keys": keys, "errors": errors_json(errors)}, indent=2))
    else:
        known = len(result.of("known")) - len(recorded)
        click.echo(f"{known} known, {len(recorded)} recorded.")
        for error in errors:
            print_error(error)
    return max((error.exit_status for error in errors), default=ExitStatus.OK)

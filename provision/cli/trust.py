"""trust: the host keys of new hosts."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from provision.cli.options import Call, load, on_hosts, say_error
from provision.model.errors import ExitStatus
from provision.transport.project_files import nearest


@click.command()
@on_hosts
def trust(call: Call) -> int:
    """Show the host keys of new hosts, and record them after a yes."""
    from provision.cli.host_keys import changed_key, record, survey
    from provision.engine.report import errors_json
    from provision.inventory.limit import select

    inventory = load(call.path)
    hosts = select(inventory, call.limit)
    path = nearest(call.path, "known_hosts")
    path = path or call.path.resolve().parent / ".provision" / "known_hosts"
    recorded: set[str] = set()
    found = survey(call.transport(inventory), inventory, hosts, jobs=call.jobs)
    while True:
        new = found.of("new")
        for offer in new:
            click.echo(f"{offer.host} ({offer.name}): {offer.kind} {offer.fingerprint}", err=True)
        if not new:
            break
        call.agreed(f"Record {'it' if len(new) == 1 else f'these {len(new)} keys'} in {path}?")
        record(path, new)
        recorded |= {offer.name for offer in new}
        # Behind a jump host that is known now may be hosts that are not. Only those are asked
        # again: sshd counts connections on which nobody logs in, and turns away whom it counted.
        hidden = [host for host in hosts if host not in found.seen]
        later = survey(call.transport(inventory), inventory, hidden, jobs=call.jobs)
        found = found.known_now() + later
    errors = (*found.errors, *(changed_key(offer, path) for offer in found.of("changed")))
    if call.as_json:
        keys = [asdict(offer) | {"recorded": offer.name in recorded} for offer in found.offers]
        click.echo(json.dumps({"keys": keys, "errors": errors_json(errors)}, indent=2))
    else:
        known = len(found.of("known")) - len(recorded)
        click.echo(f"{known} known, {len(recorded)} recorded.")
        for error in errors:
            say_error(error)
    return max((error.exit_status for error in errors), default=ExitStatus.OK)

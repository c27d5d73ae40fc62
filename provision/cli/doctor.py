"""doctor: what will hurt the network of the hosts."""

from __future__ import annotations

import json

import click

from provision.cli.invocation import Invocation
from provision.cli.options import host_options
from provision.cli.output import print_error, print_lines


@click.command()
@host_options
def doctor(invocation: Invocation) -> int:
    """Name what will hurt the network, before or after apply.

    Asks each host once and changes nothing: Docker, firewalls, forwarding, NICs and their MTU,
    clocks, disks, kernels, ranges, certificates. Exits with 7 if a finding is an error.
    """
    with invocation.session() as (session, hosts):
        from provision.checks.doctor.examine import examine
        from provision.checks.doctor.text import as_json, lines

        examination = examine(session, hosts)
    if invocation.as_json:
        click.echo(json.dumps(as_json(examination), indent=2))
    else:
        print_lines(lines(examination))
        for error in examination.errors:
            print_error(error)
    return examination.exit_status

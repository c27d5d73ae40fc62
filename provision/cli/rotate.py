"""rotate: gives the hosts of a network new keys."""

from __future__ import annotations

import click

from provision.cli.change import print_result
from provision.cli.invocation import Invocation
from provision.cli.options import TAKE_OVER, host_options
from provision.model.errors import UsageError
from provision.model.text import quoted


@click.command()
@host_options
@click.argument("network")
@TAKE_OVER
def rotate(invocation: Invocation, network: str, take_over: bool) -> int:
    """Give the hosts of a NETWORK with keys (wireguard) new keys, one host at a time.

    Packets pass meanwhile: the peers of a host know its new key before it uses it. --limit names
    the hosts that get a new key; all hosts of the network must answer.
    """
    from provision.engine.options import ApplyOptions
    from provision.engine.rotation import renewal_file, rotate

    renewal_file(invocation.inventory, network)  # raises UsageError before a host is contacted
    with invocation.session() as (session, hosts):
        if not set(hosts) & set(invocation.inventory.networks[network].hosts):
            message = f"none of these hosts is in network {quoted(network)}"
            raise UsageError(message, "leave --limit out, or name other hosts")
        options = ApplyOptions(take_over=take_over)
        result = rotate(session, network, frozenset(hosts), options)
    return print_result(invocation, result)

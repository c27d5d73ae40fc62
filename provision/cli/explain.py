"""explain: the path of a packet hop by hop, and the cause if it does not arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.invocation import Invocation
from provision.cli.options import FILE, host_options
from provision.cli.output import print_error, print_lines
from provision.model.errors import UsageError

if TYPE_CHECKING:
    from provision.checks.explain.model import Explanation

_PORT = click.IntRange(1, 65535)


@click.command()
@host_options
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--icmp", is_flag=True, help="Send pings.  [default]")
@click.option("--tcp", type=_PORT, metavar="PORT", help="Connect to a TCP port instead.")
@click.option("--udp", type=_PORT, metavar="PORT", help="Send datagrams to a UDP port instead.")
@click.option("--html", type=FILE, metavar="FILE", help="Also write the path as an HTML page.")
def explain(
    invocation: Invocation,
    source: str,
    target: str,
    icmp: bool,
    tcp: int | None,
    udp: int | None,
    html: Path | None,
) -> int:
    """Follow a packet from FROM to TO, and say where it is lost and why.

    FROM is a container or a host of the inventory, TO one of these or an IPv4 address. Sends a few
    packets, watches them on each device of their path, and leaves nothing on the hosts.
    """
    chosen = [name for name, value in (("icmp", icmp), ("tcp", tcp), ("udp", udp)) if value]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", "use one of them")
    from provision.checks.explain.explain import explain as run
    from provision.checks.explain.model import Probe
    from provision.checks.explain.words import lines

    probe = Probe(chosen[0] if chosen else "icmp", tcp or udp or 0)
    if invocation.limit is not None:
        hint = "leave it out: only the hosts of FROM and TO are contacted"
        raise UsageError(f"--limit {invocation.limit} does not apply to explain", hint)
    invocation.limit = _on_the_way(invocation, source, target)
    with invocation.outputs(("--html", html)) as (file,):
        with invocation.session() as (session, _):
            explanation = run(session, invocation.inventory, source, target, probe)
        if invocation.as_json:
            click.echo(json.dumps(_json(explanation), indent=2))
        else:
            print_lines(lines(explanation))
            for error in explanation.errors.values():
                print_error(error)
        if file is not None:
            from provision.checks.explain.page import page

            file.write(page(explanation, _drawing(invocation, explanation)))
    return explanation.exit_status


def _json(explanation: Explanation) -> dict[str, Any]:
    """The explanation, with the errors of hosts that could not be asked."""
    from provision.engine.report import errors_json

    errors = errors_json(tuple(explanation.errors.values()))
    return explanation.as_json() | ({"errors": errors} if errors else {})


def _drawing(invocation: Invocation, explanation: Explanation) -> str:
    """The SVG of the hosts on the way, with the path lit."""
    from provision.checks.explain.page import marks
    from provision.engine.bridge_subnets import with_bridge_subnets
    from provision.show.graph.draw import drawing
    from provision.show.graph.formats import svg
    from provision.show.graph.lit import lit
    from provision.show.view import View

    hosts = tuple(explanation.topologies)
    inventory = with_bridge_subnets(invocation.inventory, explanation.topologies)
    state = View(inventory, hosts, explanation.topologies, ())
    return svg(lit(drawing(state), marks(explanation))) if hosts else ""


def _on_the_way(invocation: Invocation, source: str, target: str) -> str:
    """The hosts of both ends, as a value of --limit. Raises UsageError."""
    from provision.checks.explain.ends import end

    inventory = invocation.inventory
    ends = end(inventory, source, "FROM"), end(inventory, target, "TO")
    return ",".join(dict.fromkeys(each.host for each in ends if each.host))

"""The program `provision`: finds the command, prints errors, ends with an exit status.

A command's module imports what the command needs when it runs, so that `--help` and shell
completion stay fast.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from provision import __version__
from provision.cli import signals, streams
from provision.cli.output import print_error
from provision.model.errors import ExitStatus, ProvisionError

# Command → the module that holds it, in the order in which a new user needs them.
_COMMANDS = {
    "lab": "provision.lab.commands",
    "init": "provision.cli.inventory",
    "validate": "provision.cli.inventory",
    "trust": "provision.cli.trust",
    "fetch": "provision.cli.fetch",
    "plan": "provision.cli.change",
    "apply": "provision.cli.change",
    "verify": "provision.cli.change",
    "doctor": "provision.cli.doctor",
    "destroy": "provision.cli.change",
    "show": "provision.cli.show",
    "graph": "provision.cli.show",
    "explain": "provision.cli.explain",
    "rotate": "provision.cli.rotate",
    "compare": "provision.cli.compare",
    "confirm": "provision.cli.transaction",
    "status": "provision.cli.transaction",
    "recover": "provision.cli.transaction",
    "schema": "provision.cli.inventory",
    "completion": "provision.cli.inventory",
}


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        command = getattr(import_module(_COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error for a name that does not exist suggests the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            for name in get_close_matches(args[0], _COMMANDS, 1):
                message = f"No such command {args[0]!r}. Did you mean {name}?"
                raise click.UsageError(message, ctx) from error
            raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="provision")
def provision() -> None:
    """Connect Docker containers on several hosts, and check the connections.

    An inventory file lists hosts, networks and containers: write one with init. plan shows what
    has to change on the hosts, apply changes it over SSH, verify checks it from inside the
    containers, destroy removes it.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    # A short run is mostly imports, whose objects live until the end. With the default threshold
    # (700 allocations in Python 3.11) the collector scans them repeatedly, and frees nothing.
    gc.set_threshold(100_000)
    # SSH key exchanges need the GIL often and briefly. By default a thread that computes, such
    # as the one that imports modules meanwhile, may keep it for 5 ms.
    sys.setswitchinterval(0.0005)
    streams.install()
    signals.install()
    try:
        status = _run()
    except (click.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
        _report_interruption()
    _exit(status)


def _run() -> int:
    """Run the command, print its error, and return its exit status."""
    if "_PROVISION_COMPLETE" in os.environ:
        from provision.cli import bash_completion

        bash_completion.register()
    try:
        status = provision.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption):
            from provision.cli.options_elsewhere import with_hint

            error = with_hint(error)
        error.show()
        return error.exit_code
    except ProvisionError as error:
        return _report(error)
    return status if isinstance(status, int) else ExitStatus.OK


def _report_interruption() -> None:
    """Say that the command was interrupted before it had results to report."""
    if "--json" in sys.argv:
        click.echo(json.dumps({"interrupted": True, "errors": []}, indent=2))
    click.echo("interrupted", err=True)


def _exit(status: int) -> NoReturn:
    """End the process without the interpreter's shutdown.

    The shutdown takes as long as gathering the facts of a host. It would also wait for threads,
    which after Ctrl-C may still be connecting to a host that does not answer.
    """
    os._exit(streams.exit_status(status))


def _report(error: ProvisionError) -> ExitStatus:
    # The error may come from parsing, before a command knows its options.
    if "--json" in sys.argv:
        from provision.engine.report import errors_json

        click.echo(json.dumps({"errors": errors_json((error,))}, indent=2))
    else:
        print_error(error)
    return error.exit_status

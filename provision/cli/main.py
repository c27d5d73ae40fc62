"""Arguments, verb, exit status. With `commands` the only room that prints and catches errors.

What a verb needs is imported when it runs: `--help` and completion stay quick.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from provision import __version__
from provision.cli.options import say_error
from provision.model.errors import ExitStatus, ProvisionError

# Verb → the module that holds it, in the order in which people meet them.
_VERBS = {
    "lab": "provision.lab.commands",
    "init": "provision.cli.inventory",
    "validate": "provision.cli.inventory",
    "trust": "provision.cli.trust",
    "plan": "provision.cli.change",
    "apply": "provision.cli.change",
    "verify": "provision.cli.change",
    "destroy": "provision.cli.change",
    "show": "provision.cli.show",
    "graph": "provision.cli.show",
    "compare": "provision.cli.compare",
    "confirm": "provision.cli.transaction",
    "status": "provision.cli.transaction",
    "recover": "provision.cli.transaction",
    "schema": "provision.cli.inventory",
    "completion": "provision.cli.inventory",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return super().get_command(ctx, cmd_name)
        found = getattr(import_module(_VERBS[cmd_name]), cmd_name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="provision")
def provision() -> None:
    """Connect Docker containers on many hosts, and prove that they reach each other."""


def main() -> NoReturn:
    """The `provision` program."""
    # Most of a short run is imports, whose objects stay: looking for garbage finds nothing.
    gc.set_threshold(100_000)
    # Key exchanges are many short turns: one need not wait 5 ms for what is imported meanwhile.
    sys.setswitchinterval(0.0005)
    try:
        status = provision.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        status = ExitStatus.INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except ProvisionError as error:
        status = _complain(error)
    _leave(status if isinstance(status, int) else ExitStatus.OK)


def _leave(status: int) -> NoReturn:
    """End the process at once: taking all modules apart takes as long as a look at a host does.

    Nor is any thread waited for, which after Ctrl-C may sit in a connection that never comes.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a reader such as `head` that has gone
            stream.flush()
    os._exit(status)


def _complain(error: ProvisionError) -> ExitStatus:
    if "--json" in sys.argv:
        from provision.engine.report import errors_json

        click.echo(json.dumps({"errors": errors_json((error,))}, indent=2))
    else:
        say_error(error)
    return error.exit_status

"""Options that several commands share, and the decorators that add them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.invocation import Invocation, load
from provision.model.errors import ProvisionError, UsageError
from provision.model.findings import BadValueError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Command = Callable[..., int]


def _existing_file(
    _ctx: click.Context, _parameter: click.Parameter, value: str | None
) -> Path | None:
    from provision.model.fields.files import file_type

    path = Path(value) if value else None
    if path is None:
        return None
    try:
        kind = file_type(path)
    except BadValueError as error:
        raise UsageError(f"--ssh-config {value}: {error.message}", error.hint) from error
    if kind != stat.S_IFREG:
        raise UsageError(f"--ssh-config {value}: no such file", "check the path")
    return path


def _host_names(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shell completion of --limit: hosts and groups of the inventory on the command line."""
    from click.shell_completion import CompletionItem

    head, sign, prefix = _last_term(incomplete)
    # While the value of --limit is incomplete, click has not parsed the arguments yet.
    arguments = [argument for argument in ctx.args if not argument.startswith("-")]
    path = ctx.params.get("inventory") or next(iter(arguments), None)
    try:
        inventory = load(Path(path)) if path else None
    except ProvisionError:
        inventory = None
    names = (*inventory.hosts, *inventory.groups) if inventory else ()
    return [CompletionItem(f"{head}{sign}{name}") for name in names if name.startswith(prefix)]


def _last_term(text: str) -> tuple[str, str, str]:
    """The terms before the last one, its sign (`!` or `&`), and its beginning."""
    cut = max(text.rfind(","), text.rfind(":")) + 1
    head, last = text[:cut], text[cut:]
    sign = last[:1] if last[:1] in ("!", "&") else ""
    return head, sign, last.removeprefix(sign)


class _Seconds(click.FloatRange):
    """Seconds in a range; click compares nan with its limits, and so lets it pass."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number. Calls `fail` for anything else."""
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return float(number)


FILE = click.Path(path_type=Path)
INVENTORY = click.argument("inventory", type=FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
TAKE_OVER = click.option(
    "--take-over",
    is_flag=True,
    help="Also change what an inventory of the same name, in another folder or on another machine,"
    " has made.",
)
_HOST_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--limit",
        metavar="PATTERN",
        shell_complete=_host_names,
        help="Use only these hosts and groups; ! excludes one. Example: h1,edge:!h3",
    ),
    JSON,
    click.option(
        "--ssh-config",
        type=click.Path(),
        callback=_existing_file,
        metavar="FILE",
        help="OpenSSH client configuration file to use instead of ~/.ssh/config.  [default: the"
        " nearest .provision/ssh_config, if there is one]",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(1, 500),
        default=64,
        show_default=True,
        metavar="N",
        help="Work on at most N hosts at the same time.",
    ),
    click.option(
        "--timeout",
        type=_Seconds(1, 86400),
        default=600,
        show_default=True,
        metavar="SECONDS",
        help="Time limit for each script that runs on a host.",
    ),
    click.option("-y", "--yes", is_flag=True, help="Answer yes to all questions."),
    click.option(
        "-v", "--verbose", is_flag=True, help="Print progress and the number of SSH executions."
    ),
)
_IGNORED_OPTIONS: dict[str, type | None] = {
    "--ssh-config": str,
    "--jobs": int,
    "--timeout": float,
    "-y --yes": None,
    "-v --verbose": None,
}
"""Flags → type of the value; None: no value."""


def host_options(command: Command) -> Command:
    """Add INVENTORY and the options of all commands on hosts, passed as an Invocation."""
    return _with_invocation(command, INVENTORY)


def host_options_or_plan(command: Command) -> Command:
    """The same, but INVENTORY may be missing: a saved plan names it."""
    return _with_invocation(command, click.argument("inventory", type=FILE, required=False))


def _with_invocation(command: Command, argument: Callable[..., Any]) -> Command:
    shared = ("inventory", "limit", "as_json", "ssh_config", "jobs", "timeout", "yes", "verbose")

    def wrapper(**arguments: Any) -> int:
        invocation = Invocation(**{name: arguments.pop(name) for name in shared})
        return command(invocation, **arguments)

    return decorated(update_wrapper(wrapper, command), (argument, *_HOST_OPTIONS))


def decorated(command: Command, decorators: tuple[Callable[..., Any], ...]) -> Command:
    # click lists parameters in the order of decorators in the source, which is the reverse of
    # the order in which they are applied.
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def ignore_host_options(command: Command) -> Command:
    """Accept and ignore the options of commands on hosts, on a command that contacts no host.

    A script can then pass the same options to every command.
    """
    # --json is not among them: commands that print results without hosts define it themselves.
    for flags, value in _IGNORED_OPTIONS.items():
        kind = {"is_flag": True} if value is None else {"type": value}
        command = click.option(*flags.split(), expose_value=False, hidden=True, **kind)(command)
    return command

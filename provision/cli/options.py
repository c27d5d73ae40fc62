"""What the verbs share: their options, the session they open, and what they say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.model.errors import HostError, ProvisionError, UsageError
from provision.model.terminal import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from provision.engine.apply import ApplyOptions
    from provision.engine.fleet import Session
    from provision.model.inventory import Inventory
    from provision.transport.ssh.transport import SshTransport


def say_error(error: ProvisionError) -> None:
    """An error for a person: what is wrong, and what to do."""
    prefix = f"{error.host}: " if isinstance(error, HostError) else ""
    for line in error.message.splitlines() or [""]:
        click.secho(f"{prefix}{printable(line)}", err=True, fg="red")
    if error.hint:
        click.echo(f"  → {printable(error.hint)}", err=True)


def _warn(line: str) -> None:
    click.echo(printable(line), err=True)


def echo(lines: Iterable[str]) -> None:
    """Print lines that may hold words of a host."""
    for line in lines:
        click.echo(printable(line))


def _existing(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    path = Path(value) if value else None
    if path is not None and not path.is_file():
        raise UsageError(f"--ssh-config {value}: there is no such file")
    return path


def _names(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Hosts and groups of the inventory on the command line, for the shell's Tab."""
    from click.shell_completion import CompletionItem

    head, sign, last = _last_term(incomplete)
    # click reads no arguments where the last option still wants its value.
    words = [word for word in ctx.args if not word.startswith("-")]
    path = ctx.params.get("inventory") or next(iter(words), None)
    try:
        found = load(Path(path)) if path else None
    except ProvisionError:
        found = None
    names = (*found.hosts, *found.groups) if found else ()
    return [CompletionItem(f"{head}{sign}{name}") for name in names if name.startswith(last)]


def _last_term(text: str) -> tuple[str, str, str]:
    cut = max(text.rfind(","), text.rfind(":")) + 1
    head, last = text[:cut], text[cut:]
    sign = last[:1] if last[:1] in ("!", "&") else ""
    return head, sign, last.removeprefix(sign)


FILE = click.Path(path_type=Path)
INVENTORY = click.argument("inventory", type=FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--limit", metavar="PATTERN", shell_complete=_names, help="Only these hosts: h1,edge:!h3"
    ),
    JSON,
    click.option(
        "--ssh-config",
        type=click.Path(),
        callback=_existing,
        metavar="FILE",
        help="To use.",
    ),
    click.option("--jobs", type=click.IntRange(1, 500), default=64, show_default=True),
    click.option(
        "--timeout",
        type=click.FloatRange(1, 86400),
        default=600,
        show_default=True,
        help="Seconds that one script may take on a host.",
    ),
    click.option("--yes", is_flag=True, help="Ask nothing."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is done on each host."),
)
_HEEDED_ON_HOSTS: dict[str, type | None] = {
    "--ssh-config": str,
    "--jobs": int,
    "--timeout": float,
    "--yes": None,
    "-v --verbose": None,
}
_GUARD: tuple[Callable[..., Any], ...] = (
    click.option(
        "--strategy",
        metavar="all-or-none|canary=HOST|per-host",
        default="all-or-none",
        show_default=True,
        help="What a failure on one host means for the others.",
    ),
    click.option(
        "--confirm-window",
        "window",
        type=click.IntRange(15, 3600),
        default=90,
        show_default=True,
        metavar="S",
        help="Seconds after which a host that nobody confirms undoes the change.",
    ),
    click.option("--manual", is_flag=True, help="Leave the last word to `provision confirm`."),
)


class StrategyOptions:
    """How a change is to be made, as the command line says."""

    def __init__(self, *, strategy: str, window: int, manual: bool) -> None:
        self.word, _, self.canary = strategy.partition("=")
        given = self.word in ("all-or-none", "per-host") and "=" not in strategy
        if not given and not (self.word == "canary" and self.canary):
            raise UsageError(
                f"--strategy {strategy}: there is no such strategy",
                "say all-or-none, canary=HOST or per-host",
            )
        self.window, self.manual = window, manual

    def engine(self, hosts: tuple[str, ...], *, destroy: bool = False) -> ApplyOptions:
        """The same for the engine, which knows the hosts."""
        from provision.engine.apply import ApplyOptions

        if self.canary and self.canary not in hosts:
            raise UsageError(
                f"--strategy canary={self.canary}: that is none of the hosts",
                f"name one of {', '.join(hosts)}",
            )
        return ApplyOptions(
            destroy=destroy,
            all_or_none=self.word != "per-host",
            canary=self.canary or None,
            window_s=self.window,
            manual=self.manual,
        )


def under_guard(verb: Callable[..., int]) -> Callable[..., int]:
    """A verb with the options of a change, which gets them as a Choice."""

    def call(*args: Any, **given: Any) -> int:
        names = ("strategy", "window", "manual")
        return verb(
            *args, how=StrategyOptions(**{name: given.pop(name) for name in names}), **given
        )

    wrapped: Callable[..., int] = update_wrapper(call, verb)
    for decorate in reversed(_GUARD):
        wrapped = decorate(wrapped)
    return wrapped


class Call:
    """The arguments that all verbs on hosts share."""

    def __init__(self, **given: Any) -> None:
        self.path: Path = given["inventory"]
        self.limit: str | None = given["limit"]
        self.as_json: bool = given["as_json"]
        self.ssh_config: Path | None = given["ssh_config"]
        self.jobs: int = given["jobs"]
        self.timeout_s: float = given["timeout"]
        self.yes: bool = given["yes"]
        self.verbose: bool = given["verbose"]

    @contextmanager
    def session(self) -> Iterator[tuple[Session, tuple[str, ...]]]:
        """An open session and the hosts it is about. Raises before any host is contacted."""
        inventory = load(self.path)
        from provision.inventory.limit import select

        hosts = select(inventory, self.limit)
        transport = self.transport(inventory)
        try:
            transport.dial(hosts, jobs=self.jobs)
            for warning in transport.warnings():
                click.echo(warning, err=True)
            # Imported while the hosts answer: it costs as much time as they need.
            import provision.engine.apply  # noqa: F401
            from provision.engine.fleet import Session

            yield Session(inventory, transport, self.jobs, self.timeout_s, self.say, _warn), hosts
        finally:
            transport.close()
            if self.verbose:
                for host, count in transport.executions.items():
                    click.echo(f"{host}: {count} SSH executions", err=True)

    def transport(self, inventory: Inventory) -> SshTransport:
        """SSH by --ssh-config, or by the nearest; nobody is contacted yet."""
        from provision.transport.ssh.transport import SshTransport

        return SshTransport.for_project(inventory, self.ssh_config)

    def say(self, line: str) -> None:
        """A line of progress."""
        if self.verbose or sys.stderr.isatty():
            click.echo(line, err=True)

    def agreed(self, question: str) -> None:
        """Go on after a yes only. Raises UsageError without a terminal, Abort after a no."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("there is a question, and no terminal to answer on", "say --yes")
        click.confirm(question, abort=True, err=True)


def on_hosts(verb: Callable[..., int]) -> Callable[..., int]:
    """A verb with the shared options, which gets them as a Call."""
    return _shared(verb, INVENTORY)


def on_hosts_or_plan(verb: Callable[..., int]) -> Callable[..., int]:
    """The same for a verb that may find its inventory in a saved plan."""
    return _shared(verb, click.argument("inventory", type=FILE, required=False))


def _shared(verb: Callable[..., int], argument: Callable[..., Any]) -> Callable[..., int]:
    def call(**given: Any) -> int:
        names = ("inventory", "limit", "as_json", "ssh_config", "jobs", "timeout", "yes", "verbose")
        return verb(Call(**{name: given.pop(name) for name in names}), **given)

    wrapped: Callable[..., int] = update_wrapper(call, verb)
    for decorate in reversed((argument, *_OPTIONS)):
        wrapped = decorate(wrapped)
    return wrapped


def everywhere(verb: Callable[..., int]) -> Callable[..., int]:
    """A verb that contacts no host, with the options of those that do: it takes no notice of them.

    A script can give every verb the same options.
    """
    for flags, value in _HEEDED_ON_HOSTS.items():
        kind = {"is_flag": True} if value is None else {"type": value}
        verb = click.option(*flags.split(), expose_value=False, hidden=True, **kind)(verb)
    return verb


def load(path: Path) -> Inventory:
    """The inventory of a file. Raises InventoryError."""
    from provision.inventory.load import load

    return load(path)

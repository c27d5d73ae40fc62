"""Arguments, verb, exit status. The only room that prints and that catches ProvisionError.

What a verb needs is imported when it runs: `--help` and completion stay quick.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from provision import __version__
from provision.errors import HostError, ProvisionError, UsageError

if TYPE_CHECKING:
    from provision.engine import Session
    from provision.inventory import Inventory
    from provision.report import Report
    from provision.ssh import Ssh

PENDING, INTERRUPTED, FOUND = 10, 130, 7


class _Lab(click.Group):
    """`provision lab`, imported only when one of its commands is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from provision.lab.commands import lab

        return lab.list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from provision.lab.commands import lab

        return lab.get_command(ctx, cmd_name)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="provision")
def provision() -> None:
    """Connect Docker containers on many hosts, and prove that they reach each other."""


provision.add_command(_Lab("lab", help="Real hosts on this machine, to try things on (root)."))


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
        status = INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except ProvisionError as error:
        status = _complain((error,), as_json="--json" in sys.argv)
    sys.exit(status if isinstance(status, int) else 0)


def _complain(errors: tuple[ProvisionError, ...], *, as_json: bool) -> int:
    if as_json:
        from provision.report import errors_json

        click.echo(json.dumps({"errors": errors_json(errors)}, indent=2))
    else:
        for error in errors:
            _say_error(error)
    return errors[0].exit_status


def _say_error(error: ProvisionError) -> None:
    prefix = f"{error.host}: " if isinstance(error, HostError) else ""
    for line in error.message.splitlines() or [""]:
        click.secho(f"{prefix}{_printable(line)}", err=True, fg="red")
    if error.hint:
        click.echo(f"  → {_printable(error.hint)}", err=True)


def _printable(text: str) -> str:
    # What a host says must not steer the terminal.
    return "".join(char if char.isprintable() else "?" for char in text)


def _existing(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    path = Path(value) if value else None
    if path is not None and not path.is_file():
        raise UsageError(f"--ssh-config {value}: there is no such file")
    return path


_SHARED: tuple[Callable[..., Any], ...] = (
    click.argument("inventory", type=click.Path(path_type=Path)),
    click.option("--limit", metavar="PATTERN", help="Only these hosts: h1,edge:!h3"),
    click.option("--json", "as_json", is_flag=True, help="Machine-readable output."),
    click.option("--ssh-config", callback=_existing, metavar="FILE", help="ssh_config to use."),
    click.option("--jobs", type=click.IntRange(1, 500), default=32, show_default=True),
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


_strategy = click.option(
    "--strategy",
    type=click.Choice(["all-or-none", "per-host"]),
    default="all-or-none",
    show_default=True,
    help="What an unreachable host means for the others.",
)


class _Call:
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
        inventory = _load(self.path)
        from provision.limit import select

        hosts = select(inventory, self.limit)
        transport = self.transport(inventory)
        for remark in transport.remarks():
            click.echo(remark, err=True)
        try:
            transport.dial(hosts, jobs=self.jobs)
            # Imported while the hosts answer: it costs as much time as they need.
            from provision.engine import Session

            yield Session(inventory, transport, self.jobs, self.timeout_s, self.say), hosts
        finally:
            transport.close()
            if self.verbose:
                for host, count in transport.executions.items():
                    click.echo(f"{host}: {count} SSH executions", err=True)

    def transport(self, inventory: Inventory) -> Ssh:
        """SSH by the nearest ssh_config; nobody is contacted yet."""
        from provision.ssh import Ssh

        config = self.ssh_config or _nearest(self.path, "ssh_config")
        return Ssh(inventory, config, _nearest(self.path, "known_hosts"))

    def say(self, line: str) -> None:
        if self.verbose or sys.stderr.isatty():
            click.echo(line, err=True)


def _shared(verb: Callable[..., int]) -> Callable[..., int]:
    def call(**given: Any) -> int:
        names = ("inventory", "limit", "as_json", "ssh_config", "jobs", "timeout", "yes", "verbose")
        return verb(_Call(**{name: given.pop(name) for name in names}), **given)

    wrapped: Callable[..., int] = update_wrapper(call, verb)
    for decorate in reversed(_SHARED):
        wrapped = decorate(wrapped)
    return wrapped


def _load(path: Path) -> Inventory:
    from provision.inventory_load import load

    return load(path)


def _nearest(inventory: Path, name: str) -> Path | None:
    """`.provision/NAME` beside the inventory, in a parent folder of it, or here."""
    folder = inventory.resolve().parent
    for place in (folder, *folder.parents, Path.cwd()):
        path = place / ".provision" / name
        if path.is_file():
            return path
    return None


@provision.command()
@click.argument("inventory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def validate(inventory: Path, as_json: bool) -> int:
    """Check an inventory; contacts no host."""
    loaded = _load(inventory)
    counts = {
        "hosts": len(loaded.hosts),
        "networks": len(loaded.networks),
        "containers": len(loaded.containers),
    }
    if as_json:
        click.echo(json.dumps({"errors": [], **counts}))
    else:
        words = ", ".join(f"{count} {what}" for what, count in counts.items())
        click.echo(f"{inventory}: valid: {words}")
    return 0


@provision.command()
@_shared
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 10 when changes are pending.")
def plan(call: _Call, detailed_exitcode: bool) -> int:
    """Say what apply would change, and what it would disturb."""
    from provision import engine, report

    with call.session() as (session, hosts):
        found = engine.planned(session, hosts)
    if call.as_json:
        shape = report.plan_json(found)
        errors = report.errors_json(found.errors)
        click.echo(json.dumps(shape | ({"errors": errors} if errors else {}), indent=2))
    else:
        _echo(report.plan_lines(found))
        _explain(found)
    if found.conflicts:
        return 9
    status = found.exit_status
    return status or (PENDING if found.done and detailed_exitcode else 0)


@provision.command()
@_shared
@_strategy
def apply(call: _Call, strategy: str) -> int:
    """Make the hosts as the inventory says."""
    from provision import engine

    with call.session() as (session, hosts):
        done = engine.change(session, hosts, destroy=False, all_or_none=strategy == "all-or-none")
    return _changed(call, done)


@provision.command()
@_shared
@_strategy
def destroy(call: _Call, strategy: str) -> int:
    """Remove everything that carries this inventory's mark; hosts are as they were before."""
    from provision import engine, report

    if not call.yes and not sys.stdin.isatty():
        raise UsageError("destroy asks first, and there is no terminal", "say --yes")
    with call.session() as (session, hosts):
        if not call.yes:
            found = engine.planned(session, hosts, destroy=True)
            _echo(report.plan_lines(found))
            if found.done:
                click.confirm("Remove all of this?", abort=True, err=True)
        done = engine.change(session, hosts, destroy=True, all_or_none=strategy == "all-or-none")
    return _changed(call, done)


@provision.command()
@_shared
@click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE", help="JUnit XML to write."
)
@click.option("-k", "expression", metavar="EXPR", help="Only checks that match, as pytest's -k.")
def verify(call: _Call, junit: Path | None, expression: str | None) -> int:
    """Prove from inside the containers that they reach each other, and that nothing drifted."""
    from provision.checks.run import verified
    from provision.checks.text import as_json, show

    with call.session() as (session, hosts):
        result = verified(session, hosts, junit=junit, expression=expression)
    if call.as_json:
        click.echo(json.dumps(as_json(result), indent=2))
    else:
        show(result)
        for error in result.errors:
            _say_error(error)
    return result.exit_status


@provision.command()
@_shared
def trust(call: _Call) -> int:
    """Show the host keys of new hosts, and record them after a yes."""
    from provision.limit import select
    from provision.report import errors_json
    from provision.trust import changed_key, record, survey

    inventory = _load(call.path)
    hosts = select(inventory, call.limit)
    path = _nearest(call.path, "known_hosts")
    path = path or call.path.resolve().parent / ".provision" / "known_hosts"
    recorded: set[str] = set()
    while True:
        found = survey(call.transport(inventory), hosts, jobs=call.jobs)
        new = found.of("new")
        for offer in new:
            click.echo(f"{offer.host} ({offer.name}): {offer.kind} {offer.fingerprint}", err=True)
        if not new:
            break
        _agree(call, f"Record {'it' if len(new) == 1 else f'these {len(new)} keys'} in {path}?")
        # Behind a jump host that is known now may be hosts that are not.
        record(path, new)
        recorded |= {offer.name for offer in new}
    errors = (*found.errors, *(changed_key(offer, path) for offer in found.of("changed")))
    if call.as_json:
        keys = [asdict(offer) | {"recorded": offer.name in recorded} for offer in found.offers]
        click.echo(json.dumps({"keys": keys, "errors": errors_json(errors)}, indent=2))
    else:
        known = len(found.of("known")) - len(recorded)
        click.echo(f"{known} known, {len(recorded)} recorded.")
        for error in errors:
            _say_error(error)
    return max((error.exit_status for error in errors), default=0)


def _agree(call: _Call, question: str) -> None:
    if call.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to answer on", "say --yes")
    click.confirm(question, abort=True, err=True)


def _changed(call: _Call, done: Report) -> int:
    from provision import report

    if call.as_json:
        shape = report.done_json(done)
        errors = report.errors_json(done.errors)
        click.echo(json.dumps(shape | ({"errors": errors} if errors else {}), indent=2))
    else:
        _echo(report.done_lines(done))
        _explain(done)
    return done.exit_status


def _echo(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(_printable(line))


def _explain(found: Report) -> None:
    for error in found.errors:
        _say_error(error)

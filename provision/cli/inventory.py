"""validate, schema, init, completion: verbs that contact no host."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from provision.cli.options import FILE, INVENTORY, JSON, everywhere, load
from provision.model.errors import ExitStatus, UsageError


@click.command()
@INVENTORY
@JSON
@everywhere
def validate(inventory: Path, as_json: bool) -> int:
    """Check an inventory; contacts no host."""
    loaded = load(inventory)
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
    return ExitStatus.OK


@click.command()
@everywhere
def schema() -> int:
    """Print the JSON Schema of the inventory, for editors."""
    from provision.inventory.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return ExitStatus.OK


@click.command()
@click.argument("file", type=FILE, default=Path("inventory.yml"))
@click.option("--name", metavar="NAME", help="What marks all that the file makes [demo].")
@click.option("--host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="Once for each host.")
@click.option(
    "--method",
    metavar="METHOD",
    help="How the hosts are joined [routes]; pipework needs a pool: see inventories/pipework.yml.",
)
@click.option("--cidr", metavar="CIDR", help="The network's range [172.20.0.0/16].")
@click.option("--user", metavar="USER", help="Log in as this user, by sudo if it is not root.")
@everywhere
def init(
    file: Path,
    name: str | None,
    hosts: tuple[str, ...],
    method: str | None,
    cidr: str | None,
    user: str | None,
) -> int:
    """Write a commented inventory [inventory.yml]; asks for what no option says."""
    from provision.inventory.init import Answers, write

    if file.exists():
        raise UsageError(f"{file} is there already", "name another file")
    if not hosts and not sys.stdin.isatty():
        raise UsageError("which hosts?", "say --host h1=10.0.0.11 for each, or use a terminal")
    asking = not hosts
    answers = Answers(
        name=name or (_ask("What is it called", "demo") if asking else "demo"),
        hosts=hosts or _ask_hosts(),
        method=method or "routes",
        cidr=cidr or (_ask("The network's range", "172.20.0.0/16") if asking else "172.20.0.0/16"),
        user=user or (_ask("Log in as", "root") if asking else None),
    )
    write(file, answers)
    click.echo(f"{file} is written; next: provision trust {file}", err=True)
    return ExitStatus.OK


def _ask(question: str, usual: str) -> str:
    return str(click.prompt(question, default=usual, err=True))


def _ask_hosts() -> tuple[str, ...]:
    hosts: list[str] = []
    while True:
        default = "" if len(hosts) >= 2 else None
        end = " (nothing: that is all)" if len(hosts) >= 2 else ""
        word = f"Host {len(hosts) + 1}, as NAME=ADDRESS{end}"
        answer = str(click.prompt(word, default=default, show_default=False, err=True))
        if not answer:
            return tuple(hosts)
        hosts.append(answer)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@everywhere
def completion(shell: str) -> int:
    """Print the completion script of a shell: eval "$(provision completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "provision", "_PROVISION_COMPLETE").source())
    return ExitStatus.OK

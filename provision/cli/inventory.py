"""validate, schema, init, completion: commands that contact no host."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.invocation import load
from provision.cli.options import FILE, INVENTORY, JSON, ignore_host_options
from provision.cli.output import print_warning
from provision.model.errors import ExitStatus, UsageError
from provision.model.findings import BadValueError
from provision.model.text import count

if TYPE_CHECKING:
    from provision.inventory.init import Answers

_CIDR = "172.20.0.0/16"
_EXAMPLE = ("example-host-1=192.0.2.1", "example-host-2=192.0.2.2")
"""Hosts that answers are checked with while fewer than two hosts are known."""


@click.command()
@INVENTORY
@JSON
@ignore_host_options
def validate(inventory: Path, as_json: bool) -> int:
    """Check an inventory file, without contacting a host."""
    loaded = load(inventory)
    counts = {
        "host": len(loaded.hosts),
        "network": len(loaded.networks),
        "container": len(loaded.containers),
    }
    for note in loaded.notes:
        print_warning(note)
    if as_json:
        by_plural = {f"{noun}s": number for noun, number in counts.items()}
        click.echo(json.dumps({"errors": [], **by_plural}))
    else:
        summary = ", ".join(count(number, noun) for noun, number in counts.items())
        click.echo(f"{inventory}: valid: {summary}")
    return ExitStatus.OK


@click.command()
@ignore_host_options
def schema() -> int:
    """Print the JSON Schema of inventory files, for editors."""
    from provision.inventory.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
    return ExitStatus.OK


@click.command()
@click.argument("file", type=FILE, default=Path("inventory.yml"))
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the inventory, which marks everything made from it.  [default: demo]",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME=ADDRESS",
    help="A host; repeat the option for each one.",
)
@click.option(
    "--method",
    metavar="METHOD",
    help="Method that connects the hosts. For one that needs keys of its own, start from its"
    " example in inventories/.  [default: routes]",
)
@click.option(
    "--cidr",
    metavar="CIDR",
    help="Address range of the containers' network.  [default: 172.20.0.0/16]",
)
@click.option("--user", metavar="USER", help="User to log in as; sudo is used unless it is root.")
@ignore_host_options
def init(
    file: Path,
    name: str | None,
    hosts: tuple[str, ...],
    method: str | None,
    cidr: str | None,
    user: str | None,
) -> int:
    """Write a commented inventory file.

    FILE is inventory.yml by default. Without --host, asks for the hosts and for the other values
    that no option gives.
    """
    from provision.cli.output_file import output_file
    from provision.inventory.init import Answers, inventory_text
    from provision.methods import DEFAULT
    from provision.model.fields.files import file_type

    # A folder of others, or a name that is too long: opening the file says so.
    with suppress(BadValueError):
        if file_type(file) is not None:
            raise UsageError(f"{file} already exists", "give the name of a new file")
    if not hosts and not sys.stdin.isatty():
        raise UsageError(
            "no hosts are given, and stdin is not a terminal", "add --host h1=10.0.0.11 for each"
        )
    answers = Answers(name or "demo", hosts or _EXAMPLE, method or DEFAULT, cidr or _CIDR, user)
    with output_file("init", file) as output:
        assert output is not None
        # Options first: a question would report their mistakes as those of its answer.
        text = inventory_text(file.name, answers)
        if not hosts:
            options = {"name": name, "method": method, "cidr": cidr, "user": user}
            text = inventory_text(file.name, _ask_missing(answers, options))
        if output.write(text):
            print_warning(f"Next: provision trust {file}")
    return ExitStatus.OK


def _ask_missing(answers: Answers, options: Mapping[str, str | None]) -> Answers:
    """Ask for the hosts, and for each answer that no option gives."""
    from provision.methods import names

    if not options["name"]:
        answers = _ask("Name of the inventory", "name", answers, answers.name)
    answers = _ask_hosts(answers)
    if not options["method"]:
        answers = _ask(f"Method ({', '.join(names())})", "method", answers, answers.method)
    if not options["cidr"]:
        answers = _ask("Range of the network", "cidr", answers, answers.cidr)
    return answers if options["user"] else _ask("User to log in as", "user", answers, "root")


def _ask(question: str, key: str, answers: Answers, default: str) -> Answers:
    """Ask for one answer, again until it is valid."""

    def checked(text: str) -> Answers:
        change: dict[str, Any] = {key: text}
        return _checked(replace(answers, **change))

    # err=True: standard output is for results, which a script may read.
    asked = click.prompt(question, default=default, err=True, value_proc=checked)
    assert isinstance(asked, type(answers))
    return asked


def _ask_hosts(answers: Answers) -> Answers:
    hosts: tuple[str, ...] = ()

    def checked(text: str) -> str:
        if text:
            # A network needs two hosts.
            _checked(replace(answers, hosts=(*hosts, text, *(_EXAMPLE[:1] if not hosts else ()))))
        return text

    while True:
        default = "" if len(hosts) >= 2 else None
        end = " (leave empty to finish)" if len(hosts) >= 2 else ""
        question = f"Host {len(hosts) + 1} as NAME=ADDRESS{end}"
        asked = click.prompt(
            question, default=default, show_default=False, err=True, value_proc=checked
        )
        if not asked:
            return replace(answers, hosts=hosts)
        hosts += (asked,)


def _checked(answers: Answers) -> Answers:
    """The same answers. Raises click.UsageError, upon which a question is asked again."""
    from provision.inventory.init import inventory_text

    try:
        inventory_text("inventory.yml", answers)
    except UsageError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise click.UsageError(f"{error.message}{hint}") from error
    return answers


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@ignore_host_options
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    For bash, add this line to ~/.bashrc: eval "$(provision completion bash)"
    """
    from click.shell_completion import get_completion_class

    from provision.cli import bash_completion

    bash_completion.register()
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = click.get_current_context().find_root().command
    click.echo(completion_class(root, {}, "provision", bash_completion.COMPLETE).source())
    return ExitStatus.OK

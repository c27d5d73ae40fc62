"""fetch: gets programs beforehand that hosts receive from this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from provision.cli.invocation import load
from provision.cli.options import FILE
from provision.cli.output import print_lines, print_warning
from provision.model.errors import ExitStatus, UsageError
from provision.model.inventory import LocalBinary


@click.command()
@click.argument("program")
@click.argument("inventory", type=FILE, required=False)
def fetch(program: str, inventory: Path | None) -> int:
    """Download or build a program that hosts get from this machine.

    PROGRAM is flanneld. `apply` does the same when a host needs the program and this machine lacks
    it, which may take minutes. With INVENTORY, gets what its networks name, such as a release by
    its URL. Contacts no host.
    """
    print_lines(dict.fromkeys(_lines(program, inventory)))
    return ExitStatus.OK


def _lines(program: str, inventory: Path | None) -> Iterator[str]:
    binaries = _of_networks(program, inventory) if inventory else iter((_by_default(program),))
    for binary in binaries:
        yield f"{program}: {binary.path} (sha256 {binary.sha256})"


def _by_default(program: str) -> LocalBinary:
    """The program that hosts get if the inventory names none. Raises UsageError, SupplyError."""
    from provision import methods

    programs = {
        name: build
        for method in map(methods.named, methods.names())
        for name, build in method.programs().items()
    }
    if program not in programs:
        raise UsageError(
            f"no method needs a program {program!r} from this machine",
            f"write {' or '.join(programs)}",
        )
    return programs[program](print_warning)


def _of_networks(program: str, path: Path) -> Iterator[LocalBinary]:
    """The program of each network that needs one. Raises InventoryError, SupplyError."""
    from provision import methods

    inventory, is_needed = load(path), False
    for network in inventory.networks.values():
        if program in methods.of(network).programs():
            is_needed = True
            files = {**network.files, **methods.of(network).build_files(network, print_warning)}
            yield files[program]
    if not is_needed:
        raise UsageError(f"no network of {path} needs {program!r}", "leave the file out")

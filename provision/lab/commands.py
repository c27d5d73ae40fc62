"""`provision lab …`: real hosts on this machine. Only words and output; the rooms beside act."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from provision.lab import bringup, power, ready, settings, teardown
from provision.lab.place import MIXED, MOST_HOSTS, SUITES, Place, suite_of
from provision.lab.ranges import ranges


def _here() -> Place:
    return Place(Path.cwd().resolve())


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """Real hosts on this machine, to try things on (Debian, systemd, Docker; needs root)."""


@lab.command()
@click.argument("count", metavar="[N]", required=False, type=click.IntRange(1, MOST_HOSTS))
@click.option("--suite", type=click.Choice([*SUITES, MIXED]), help="Debian suite [trixie].")
@click.option("--bare", is_flag=True, help="Hosts with little but systemd and sshd; no Docker.")
@click.option(
    "--ranges",
    "wanted",
    metavar="MGMT,DATA",
    help="Two private /24, for SSH and for the containers [10.77.0.0/24,10.78.0.0/24].",
)
@click.option("--mirror", metavar="URL", help="Debian archive to build from [this machine's].")
def up(
    count: int | None, suite: str | None, bare: bool, wanted: str | None, mirror: str | None
) -> None:
    """Bring up hosts h1 … hN [3]; again: start what is off, add what is missing."""
    wish = settings.Wish(count, suite, bare, ranges(wanted) if wanted else None)
    place = _here()
    boots = bringup.up(place, wish, mirror=mirror, say=_say)
    count_up = "1 host is" if len(boots) == 1 else f"{len(boots)} hosts are"
    _say(f"{count_up} up; ssh -F {place.ssh_config} h1")


@lab.command()
def status() -> None:
    """Show the hosts of this folder's lab."""
    place = _here()
    found = settings.require(place)
    addresses = power.addresses(place)
    click.echo(f"{'HOST':<6}{'SUITE':<10}{'STATE':<7}{'SSH':<16}CONTAINERS")
    for host, state in power.states(place).items():
        ssh, data = addresses[host]
        click.echo(f"{host:<6}{suite_of(host, found.suite):<10}{state:<7}{ssh!s:<16}{data}")


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(host: str, command: tuple[str, ...]) -> None:
    """Log in to a host, or run a command there (after --)."""
    place = _here()
    settings.require(place)
    # One word is a line for the host's shell, as with ssh itself; many words arrive as given.
    words = (command[0] if len(command) == 1 else shlex.join(command),) if command else ()
    argv = ready.ssh(place, host, *words)
    os.execvp(argv[0], argv)


@lab.command()
@click.argument("hosts", nargs=-1, required=True)
def reboot(hosts: tuple[str, ...]) -> None:
    """Reboot hosts and wait until they are back."""
    power.reboot(_here(), hosts, say=_say)


@lab.command()
@click.option("--purge", is_flag=True, help="Delete the base trees too.")
def down(purge: bool) -> None:
    """End the lab and leave nothing of it."""
    teardown.down(_here(), purge=purge, say=_say)

"""`provision lab …`: arguments and output; the other modules of this folder do the work."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from provision.lab import examples, line, settings
from provision.lab.kernels import MACHINES
from provision.lab.layout import MIXED, MOST_HOSTS, NICS, SUITES, Lab, suite_of
from provision.lab.ranges import ranges
from provision.lab.variants import GROUPS, host_choices
from provision.model import text
from provision.model.errors import UsageError


def _current() -> Lab:
    return Lab(Path.cwd().resolve())


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """Run a lab of real hosts on this machine (needs root).

    The hosts are systemd-nspawn machines, or machines with a kernel of their own (--kernel), with
    Debian, sshd and Docker. A lab belongs to the folder in which `up` ran: run the other commands
    there, too.
    """


@lab.command()
@click.argument("count", metavar="[N]", required=False, type=click.IntRange(1, MOST_HOSTS))
@click.option(
    "--suite",
    type=click.Choice([*SUITES, MIXED]),
    help="Debian release of the hosts; mixed: one of each in turn.  [default: trixie]",
)
@click.option("--bare", is_flag=True, help="Boot hosts with systemd and sshd, but without Docker.")
@click.option(
    "--ranges",
    "wanted",
    metavar="MGMT,DATA",
    help="Two private /24 ranges, for SSH and for the containers' traffic."
    "  [default: 10.77.0.0/24,10.78.0.0/24]",
)
@click.option(
    "--kernel",
    type=click.Choice([*MACHINES]),
    help="Kernel of the hosts: this machine's, or User-Mode Linux.  [default: shared]",
)
@click.option(
    "--manager",
    type=click.Choice(GROUPS["manager"]),
    help="Network manager of the hosts.  [default: networkd]",
)
@click.option(
    "--firewall",
    type=click.Choice(GROUPS["firewall"]),
    help="Firewall that runs on the hosts.  [default: none]",
)
@click.option(
    "--iptables",
    type=click.Choice(GROUPS["iptables"]),
    help="Backend of iptables.  [default: Debian's, which is nf_tables]",
)
@click.option(
    "--docker",
    type=click.Choice(GROUPS["docker"]),
    help="Docker of the hosts: Debian's, or 29, built from source; needs sid.  [default: debian]",
)
@click.option(
    "--resolver",
    type=click.Choice(GROUPS["resolver"]),
    help="Resolver of the hosts: resolved is systemd-resolved, at 127.0.0.53.  [default: none]",
)
@click.option(
    "--dhcp", is_flag=True, help="The hosts get the addresses for containers' traffic by DHCP."
)
@click.option(
    "--host",
    "single",
    metavar="NAME=KEY:VALUE,…",
    multiple=True,
    help="Variants of one host, such as h2=manager:netplan. Repeatable.",
)
@click.option(
    "--mirror",
    metavar="URL",
    help="Debian archive to build the hosts from.  [default: this machine's]",
)
def up(
    count: int | None,
    suite: str | None,
    bare: bool,
    wanted: str | None,
    kernel: str | None,
    single: tuple[str, ...],
    mirror: str | None,
    dhcp: bool,
    **variants: str | None,
) -> None:
    """Boot the hosts h1 … hN (3 by default).

    In a folder that has a lab, start its hosts that are off, and add hosts up to hN.
    """
    from provision.lab import bringup

    chosen = {group: value for group, value in variants.items() if value}
    chosen |= {"address": "dhcp"} if dhcp else {}
    addresses = ranges(wanted) if wanted else None
    options = settings.UpOptions(
        count, suite, bare, addresses, chosen, host_choices(single), kernel
    )
    current = _current()
    boots = bringup.up(current, options, mirror=mirror, say=_say)
    hosts_are = f"{text.count(len(boots), 'host')} {'is' if len(boots) == 1 else 'are'}"
    _say(f"{hosts_are} up. Log in: ssh -F {current.ssh_config} h1")
    if (example := examples.folder(current) / "routes.yml").exists():
        _say(f"Examples for these ranges: provision apply {example.relative_to(current.folder)}")


@lab.command()
def status() -> None:
    """Show the hosts of this folder's lab: suite, state, addresses and kernel."""
    from provision.lab import power

    current = _current()
    suite = settings.require(current).suite
    addresses, kernels = power.addresses(current), power.kernel_names(current)
    click.echo(f"{'HOST':<6}{'SUITE':<10}{'STATE':<7}{'SSH':<16}{'CONTAINERS':<16}KERNEL")
    for name, state in power.states(current).items():
        ssh, data = addresses[name]
        host = f"{name:<6}{suite_of(name, suite):<10}{state:<7}"
        click.echo(f"{host}{ssh!s:<16}{data!s:<16}{kernels[name]}")


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(host: str, command: tuple[str, ...]) -> None:
    """Log in to HOST as root, or run COMMAND there.

    Put -- before a COMMAND that has options: lab ssh h1 -- docker ps -a
    """
    from provision.lab import ready

    current = _current()
    settings.require(current)
    # A single argument is a line for the host's shell, as with ssh itself. Several arguments
    # are an argument vector, which ssh would join by spaces without quoting.
    line = (command[0] if len(command) == 1 else shlex.join(command),) if command else ()
    argv = ready.ssh(current, host, *line)
    os.execvp(argv[0], argv)


@lab.command()
@click.argument("hosts", nargs=-1, required=True)
def reboot(hosts: tuple[str, ...]) -> None:
    """Reboot hosts and wait until they are back."""
    from provision.lab import power

    power.reboot(_current(), hosts, say=_say)


@lab.command(name="power-cut")
@click.argument("hosts", nargs=-1, required=True)
def power_cut(hosts: tuple[str, ...]) -> None:
    """Cut the power of hosts: kill them at once. They stay off until `lab up`."""
    from provision.lab import power

    power.cut_power(_current(), *hosts)
    _say(f"Off: {', '.join(hosts)}")


@lab.command()
@click.argument("hosts", nargs=-1, required=True)
@click.option("--delay", metavar="TIME", help="Added to each round trip to the host: 40ms or 0.3s.")
@click.option("--loss", metavar="PERCENT", help="Lost packets in each direction: 1% or 100%.")
@click.option("--rate", metavar="RATE", help="Limit in each direction: 64kbit, 10mbit or 1gbit.")
@click.option("--nic", type=click.Choice(NICS), help="Only this NIC.  [default: both]")
@click.option("--clear", is_flag=True, help="Make the lines good again.")
def link(hosts: tuple[str, ...], nic: str | None, clear: bool, **values: str | None) -> None:
    """Make the lines to hosts slow or lossy, until --clear or until they boot.

    The options replace all earlier ones of these hosts.
    """
    from provision.lab import links

    quality = line.parse(**values)
    if clear == (quality != line.Line()):
        raise UsageError("either --clear, or at least one of --delay, --loss and --rate is needed")
    nics = (nic,) if nic else NICS
    links.change(_current(), hosts, quality, nics)
    for host in hosts:
        _say(f"{host}: {' and '.join(nics)}: {quality}")


@lab.command()
@click.option("--purge", is_flag=True, help="Also delete the cached base trees.")
def down(purge: bool) -> None:
    """Remove the lab: its hosts, interfaces, mounts and files."""
    from provision.lab import teardown

    teardown.down(_current(), purge=purge, say=_say)

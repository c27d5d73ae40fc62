"""Options of Ansible, Terraform and Compose, and what does the same here. Pure."""

from __future__ import annotations

import click

_PLAN = "`provision plan` shows the changes and makes none"
_LIMIT = "--limit chooses hosts: --limit h1,h2"
_HINTS = {
    "--host": _LIMIT,
    "--hosts": _LIMIT,
    "--target": _LIMIT,
    "--check": _PLAN,
    "--diff": _PLAN,
    "--dry-run": _PLAN,
    "-C": _PLAN,
    "-i": "the inventory is an argument: provision COMMAND INVENTORY",
    "--inventory": "the inventory is an argument: provision COMMAND INVENTORY",
    "-f": "the inventory is an argument; --jobs is the number of hosts at a time",
    "--file": "the inventory is an argument: provision COMMAND INVENTORY",
    "--forks": "--jobs is the number of hosts at a time",
    "--auto-approve": "apply asks no question; destroy asks one, unless --yes is given",
    "-auto-approve": "apply asks no question; destroy asks one, unless --yes is given",
    "--become": "log in as another user by ssh.user and ssh.sudo in the inventory",
    "--user": "log in as another user by ssh.user in the inventory",
    "--private-key": "choose a key by ssh.key in the inventory",
    "-v": "--verbose is an option of verify; --json has all details",
}


def with_hint(error: click.NoSuchOption) -> click.UsageError:
    """The error; for an option of another program, with a hint in the place of click's guess."""
    if hint := _HINTS.get(error.option_name):
        return click.UsageError(f"No such option: {error.option_name} ({hint})", error.ctx)
    return error

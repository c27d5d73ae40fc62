"""Destinations: what ssh is told about a host, so that it prints the options that count. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from provision.model.inventory import Host

USER, SYSTEM = Path(".ssh/config"), Path("/etc/ssh/ssh_config")
NO_FILE = Path("none")
"""As for `ssh -F none`: OpenSSH's own defaults."""

Options = dict[str, tuple[str, ...]]
"""Lower-case keyword of ssh_config → its values, one for each time that `ssh -G` prints it."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The arguments of `ssh`: a name, and what the inventory says of it.

    `address` counts as HostName, `jump` as ProxyJump.
    """

    name: str
    user: str | None = None
    port: int | None = None
    address: str | None = None
    jump: str | None = None
    options: tuple[str, ...] = ()
    """Options of ssh as on its command line, which count before ssh_config."""

    def arguments(self) -> tuple[str, ...]:
        """The arguments of ssh for this destination."""
        pairs = (
            ("-l", self.user),
            ("-p", self.port),
            ("-o", f"HostName={_escaped(self.address)}" if self.address else None),
            ("-J", self.jump),
        )
        options = (argument for flag, value in pairs if value for argument in (flag, str(value)))
        return (*options, *self.options, "--", self.name)


ANY = Destination("localhost", "root")
"""A destination whose options are OpenSSH's defaults; a user without a name has no other user."""


def _escaped(address: str) -> str:
    """An address without tokens: the scope of an IPv6 address begins with a percent sign."""
    return address.replace("%", "%%")


def destinations(host: Host) -> tuple[Destination, ...]:
    """The destinations whose options a host uses: `ssh.address`, if it has one, and its name."""
    ssh = host.ssh
    options = tuple(shlex.split(ssh.options))
    name = Destination(host.name, ssh.user, ssh.port, ssh.address, ssh.jump, options)
    if ssh.address is None:
        return (name,)
    address = Destination(ssh.address, ssh.user, ssh.port, None, ssh.jump, options)
    return address, name

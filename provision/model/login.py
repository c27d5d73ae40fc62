"""The login of a host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ssh:
    """The login of a host; OpenSSH's own configuration decides where a value is None."""

    user: str | None = None
    key: Path | None = None
    port: int | None = None
    jump: str | None = None
    """Jump hosts as for ProxyJump: [user@]host[:port], joined by commas."""
    sudo: bool = False
    """Run as root by `sudo -n`."""
    address: str | None = None
    """Name or address of the host's sshd, where it is not the host's own name."""
    options: str = ""
    """Options of ssh, quoted for a shell, that count before ssh_config."""
    client: str = "auto"
    """`paramiko`, `openssh`, or `auto`: ssh where paramiko cannot do what ssh_config asks for."""

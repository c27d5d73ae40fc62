"""The interface of the two ways in which lab hosts run, and the files that both write.

`nspawn` boots containers that share the kernel of this machine; `uml` boots machines with a kernel
of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from provision.lab import nic_files
from provision.lab.base import Recipe
from provision.lab.layout import LabHost
from provision.lab.settings import LabSettings

# The userspace datapath of Open vSwitch needs tun; `c!` creates it at boot where it is missing.
_TUN = "c! /dev/net/tun 0666 root root - 10:200\n"
# By default (MaxStartups 10:30:100) sshd drops connections at random once 10 have not logged in
# yet; parallel runs exceed that. No name server knows these addresses, hence no UseDNS.
_SSHD = "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 100:30:200\n"

Say = Callable[[str], None]


class Machine(ABC):
    """How the hosts of a lab run."""

    slowness: ClassVar[int] = 1
    """The factor by which time limits grow."""
    own_kernel: ClassVar[bool] = False
    """True if each host has a kernel of its own."""
    memory_mb: ClassVar[int | None] = None
    """The memory of each host; None if hosts share the memory of this machine."""

    @abstractmethod
    def require(self, target: LabSettings) -> None:
        """Check what hosts with these settings need. Raises LabError, UsageError."""

    @abstractmethod
    def ensure_base(self, recipe: Recipe, mirror: str | None, say: Say) -> None:
        """Make what hosts share beside the base tree, which exists. Raises LabError."""

    @abstractmethod
    def kernel(self, host: LabHost) -> str:
        """The kernel of the host, as `lab status` shows it."""

    @abstractmethod
    def prepare(self, host: LabHost, recipe: Recipe, target: LabSettings) -> None:
        """Write the host's files and its root; an existing host keeps its files."""

    @abstractmethod
    def command(self, host: LabHost, packages: Path | None) -> tuple[str, ...]:
        """The command line that boots the host and waits for its end.

        It ends with status 133 when the host reboots. `packages` is the folder of packages for a
        bare host.
        """

    @abstractmethod
    def attach(self, host: LabHost) -> Path | None:
        """Connect the NICs of a host that is about to boot to the bridges of the lab.

        Returns a shell script that has to run beside each boot, where one has to.
        """

    @abstractmethod
    def host_name(self, argv: Sequence[str], tag: str) -> str:
        """The name of the host that a process with these arguments belongs to; else empty."""

    @abstractmethod
    def is_main(self, argv: Sequence[str], parent: Sequence[str]) -> bool:
        """True if this process of a host is the one whose end is a power cut.

        `parent` are the arguments of its parent.
        """

    @abstractmethod
    def stop(self, host: LabHost) -> None:
        """Delete the interfaces and mounts that a killed machine left on this machine."""


def write_files(host: LabHost, target: LabSettings, root: Path) -> None:
    """Write the files in which the host differs from its base tree, below `root`."""
    for path, (text, mode) in nic_files.files(host, target).items():
        _create(root / path, text, mode=mode)
    _create(root / "etc/hostname", f"{host.name}\n")
    _create(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n")
    _create(root / "etc/tmpfiles.d/lab.conf", _TUN)
    _create(root / "etc/ssh/sshd_config.d/lab.conf", _SSHD)
    _create(root / "etc/ssh/ssh_host_ed25519_key", host.host_key.read_text(), mode=0o600)
    public = host.lab.key.with_suffix(".pub").read_text()
    _create(root / "root/.ssh/authorized_keys", public, mode=0o600)
    (root / "root").chmod(0o700)
    (root / "root/.ssh").chmod(0o700)


def _create(path: Path, text: str, *, mode: int = 0o644) -> None:
    # A file that exists may have been changed on the host since its first boot: keep it.
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.touch(mode=mode)
        new.write_text(text)
        new.rename(path)

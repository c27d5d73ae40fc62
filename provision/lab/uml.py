"""Hosts with a kernel of their own: User-Mode Linux, a Linux kernel that runs as a process.

The process belongs to an unprivileged user of its own, and sees only the programs of its base tree
and the disks of the host (templates/lab/guest.sh.j2).
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from provision.lab import keys, namespace, uml_kernel
from provision.lab.base import Recipe
from provision.lab.layout import LabHost, mac
from provision.lab.machine import Machine, Say, write_files
from provision.lab.settings import LabSettings
from provision.lab.tools import require_programs, run, succeeds
from provision.model.errors import LabError, UsageError
from provision.resources.render import render

_NO_NFTABLES = {"iptables": ("nf_tables",), "firewall": ("firewalld", "nftables")}
"""The variants that the kernel cannot run: Debian builds it without nf_tables for IPv4."""
# Units that a guest starts in vain, since its modules or files are not there.
_MASKED = (
    *("systemd-binfmt.service", "modprobe@drm.service", "modprobe@fuse.service"),
    *("modprobe@configfs.service", "systemd-journal-catalog-update.service"),
)


class UmlMachine(Machine):
    """Guests of User-Mode Linux."""

    # A fork and exec takes 25 times as long as in a container.
    slowness = 4
    own_kernel = True
    memory_mb = 512

    def require(self, target: LabSettings) -> None:
        """Refuse variants that need another kernel."""
        for choice in (target.variants, *target.host_variants.values()):
            for group, values in _NO_NFTABLES.items():
                if choice.get(group) in values:
                    raise UsageError(
                        f"--kernel uml: its kernel cannot run {group} {choice[group]}, "
                        "which needs nf_tables",
                        "leave it out",
                    )
        require_programs({"mke2fs": "e2fsprogs", "perl": "perl-base", "unshare": "util-linux"})

    def ensure_base(self, recipe: Recipe, mirror: str | None, say: Say) -> None:
        """Build the disk that the hosts of one base tree share."""
        uml_kernel.ensure(recipe, mirror, say)

    def kernel(self, host: LabHost) -> str:
        """Name the version with which the host's shared disk was built."""
        return f"uml {uml_kernel.release(host.base.readlink())}" if host.base.is_symlink() else ""

    def prepare(self, host: LabHost, recipe: Recipe, target: LabSettings) -> None:
        """Make the host's own disk, and write the script that runs its kernel."""
        (host.path / "root").mkdir(parents=True, exist_ok=True)
        keys.ensure_host(host)
        if not host.base.is_symlink():
            host.base.symlink_to(uml_kernel.folder(recipe))
        if not host.base.exists():
            raise LabError(
                f"the disk that {host.name} shares with other hosts was deleted: "
                f"{host.base.readlink()}",
                "run `provision lab down`, then `provision lab up` again",
            )
        if not host.disk.exists():
            _make_disk(host, target)
        names = {"host": host.name, "user": user(host), "memory_mb": self.memory_mb}
        disks = {"base": host.base.readlink() / "disk.ext4", "disk": host.disk}
        text = render(
            "lab/guest.sh.j2",
            **names,
            **disks,
            taps=_taps(host),
            programs=uml_kernel.programs(host.base.readlink(), recipe),
            root=host.path / "root",
            kernel=host.base.readlink() / "linux",
            arguments=shlex.join(self._arguments(host)),
        )
        _script(host).write_text(text)

    def _arguments(self, host: LabHost) -> tuple[str, ...]:
        """The arguments of the kernel."""
        nics = enumerate(zip(("host0", "eth1"), _taps(host), strict=True))
        return (
            *(f"umid={host.machine}", "uml_dir=/tmp/", f"mem={self.memory_mb}M"),
            *("ubd0r=/base", "ubd1=/disk", "root=/dev/ubda", "ro", f"init={uml_kernel.INIT}"),
            *(
                f"vec{number}:transport=tap,ifname={tap},depth=128,gro=1,mac={mac(host, nic)}"
                for number, (nic, tap) in nics
            ),
            *("console=tty0", "con0=fd:0,fd:1", "con=null", "ssl=null", "quiet"),
            *("systemd.show_status=1", *(f"systemd.mask={unit}" for unit in _MASKED)),
        )

    def command(self, host: LabHost, _packages: Path | None) -> tuple[str, ...]:
        """Start the script in namespaces that end with it."""
        return (
            *("nsenter", f"--net={namespace.path(host.lab)}"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"),
            *("sh", str(_script(host))),
        )

    def attach(self, host: LabHost) -> None:
        """Create the taps, which belong to the user of the host, and join them to the bridges."""
        for tap, bridge in zip(_taps(host), namespace.BRIDGES, strict=True):
            inside = ("ip", "-n", host.lab.namespace)
            owner = ("user", str(user(host)), "group", str(user(host)))
            run((*inside, "tuntap", "add", "dev", tap, "mode", "tap", *owner))
            run((*inside, "link", "set", "dev", tap, "master", bridge, "up"))

    def host_name(self, argv: Sequence[str], tag: str) -> str:
        """Read the argument `umid` of the kernel, as `guest.sh` starts it: /reboot is its name."""
        if argv[0] != "/reboot":
            return ""
        argument = f"umid={tag}-"
        return next((a.removeprefix(argument) for a in argv if a.startswith(argument)), "")

    def is_main(self, argv: Sequence[str], parent: Sequence[str]) -> bool:
        """True for the kernel's first process: its other ones have the same arguments."""
        return argv != parent

    def stop(self, host: LabHost) -> None:
        """Delete the taps of a host that is off."""
        namespace.clear(host)


def user(host: LabHost) -> int:
    """The user ID of a host's process, in a range that systemd's table of UIDs leaves free."""
    digest = int(sha256(host.machine.encode()).hexdigest(), 16)
    return 1_900_000_000 + digest % 2**27


def _taps(host: LabHost) -> tuple[str, str]:
    """The outer ends of host0 and eth1; they have the names of a container's."""
    return host.outer("host0"), host.outer("eth1")


def _script(host: LabHost) -> Path:
    return host.path / "guest.sh"


def _make_disk(host: LabHost, target: LabSettings) -> None:
    files, new = host.path / "files", host.disk.with_suffix(".new")
    for path in (files, new):
        succeeds(("rm", "-rf", str(path)))
    for name in ("upper", "work", "docker"):
        (files / name).mkdir(parents=True)
    write_files(host, target, files / "upper")
    new.touch(mode=0o600)
    os.truncate(new, 4 << 30)
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    run(("mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", options, "-d", str(files), str(new)))
    os.chown(new, user(host), user(host))
    new.rename(host.disk)
    shutil.rmtree(files)

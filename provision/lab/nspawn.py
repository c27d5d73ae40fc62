"""Hosts that share the kernel of this machine: systemd-nspawn on an overlay of the base tree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from provision.lab import keys, namespace
from provision.lab.base import Recipe
from provision.lab.layout import LabHost
from provision.lab.machine import Machine, Say, write_files
from provision.lab.repository import INSIDE
from provision.lab.settings import LabSettings
from provision.lab.tools import run, succeeds
from provision.model.errors import LabError
from provision.resources.render import render

FOLDER = Path("/run/systemd/nspawn")
EXPORTS = ("propagate", "unix-export")
"""Folders of systemd-nspawn with a mount for each machine; `unix-export` since systemd 256."""


class NspawnMachine(Machine):
    """Containers of systemd-nspawn."""

    def require(self, _target: LabSettings) -> None:
        """Need nothing more than every lab."""

    def ensure_base(self, _recipe: Recipe, _mirror: str | None, _say: Say) -> None:
        """Need nothing but the base tree."""

    def kernel(self, _host: LabHost) -> str:
        """Name the kernel of this machine."""
        return f"shared {os.uname().release}"

    def prepare(self, host: LabHost, recipe: Recipe, target: LabSettings) -> None:
        """Write the host's files and mount its root; an existing host keeps its files."""
        for path in (host.upper, host.path / "work", host.merged, host.docker):
            path.mkdir(parents=True, exist_ok=True)
        keys.ensure_host(host)
        if not os.path.ismount(host.merged):
            # Write to the upper layer before the mount: the kernel leaves it undefined what a
            # mounted overlay shows of changes below it (Documentation/filesystems/overlayfs.rst).
            write_files(host, target, host.upper)
            _mount(host, recipe)

    def command(self, host: LabHost, packages: Path | None) -> tuple[str, ...]:
        """The command line of systemd-nspawn.

        `--register=no --keep-unit`: systemd-machined may be absent, as systemd need not be PID 1
        on this machine. With these options systemd-nspawn reports a reboot by exit status 133
        instead of booting again by itself.
        """
        # Outside systemd-nspawn's default filter, but needed by runc: a session keyring for each
        # container, and BPF programs for the device rules of cgroup v2.
        system_calls = ("add_key", "keyctl", "bpf")
        # The host's root is an overlay, and the kernel refuses an overlay as another one's upper
        # layer: Docker's overlay2 driver needs a folder of the machine's own file system.
        binds = [f"--bind={host.docker}:/var/lib/docker"]
        if packages is not None:
            binds.append(f"--bind-ro={packages}:{INSIDE}")
        return (
            *("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"),
            *("nsenter", f"--net={namespace.path(host.lab)}", "systemd-nspawn", "--quiet"),
            *("--register=no", "--keep-unit", "--boot", f"--directory={host.merged}"),
            *(f"--machine={host.machine}", f"--hostname={host.name}", "--settings=no"),
            f"--network-bridge={namespace.BRIDGES[0]}",
            f"--network-veth-extra={host.link}:eth1",
            *("--capability=all", *(f"--system-call-filter={call}" for call in system_calls)),
            *(*binds, "--console=read-only", "--setenv=TERM=dumb", "--resolv-conf=off"),
            *("--timezone=off", "--link-journal=no", "--", "--show-status=yes"),
        )

    def attach(self, host: LabHost) -> Path:
        """Write the script that joins eth1 to its bridge once systemd-nspawn has made it."""
        script = host.path / "attach.sh"
        netns = str(namespace.path(host.lab))
        names = {"namespace": netns, "link": host.link, "bridge": namespace.BRIDGES[1]}
        script.write_text(render("lab/attach.sh.j2", host=host.name, **names))
        return script

    def host_name(self, argv: Sequence[str], tag: str) -> str:
        """Read the option `--machine`."""
        option = f"--machine={tag}-"
        return next((a.removeprefix(option) for a in argv if a.startswith(option)), "")

    def is_main(self, argv: Sequence[str], _parent: Sequence[str]) -> bool:
        """True for systemd-nspawn itself: its helpers end with it."""
        return Path(argv[0]).name == "systemd-nspawn"

    def stop(self, host: LabHost) -> None:
        """Delete the interfaces and mounts of a killed machine: its next start would fail."""
        namespace.clear(host)
        for folder in (FOLDER / name / host.machine for name in EXPORTS):
            if folder.is_dir():
                succeeds(("umount", "--recursive", str(folder)))
                folder.rmdir()


def _mount(host: LabHost, recipe: Recipe) -> None:
    layers = f"lowerdir={recipe.tree},upperdir={host.upper},workdir={host.path / 'work'}"
    try:
        run(("mount", "-t", "overlay", "overlay", "-o", layers, str(host.merged)))
    except LabError as error:
        raise LabError(
            f"{host.name}: its root file system could not be mounted: {error.message}",
            "run the lab in a folder on a plain local file system (ext4, xfs, btrfs)",
        ) from error

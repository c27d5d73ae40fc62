"""The root file system of a host and the command line that boots it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from provision.lab import keys, namespace, nic_files
from provision.lab.base import Recipe
from provision.lab.cgroup import folders
from provision.lab.layout import LabHost
from provision.lab.repository import INSIDE
from provision.lab.settings import LabSettings
from provision.lab.tools import run
from provision.model.errors import LabError
from provision.resources.render import render

# The userspace datapath of Open vSwitch needs tun; `c!` creates it at boot where it is missing.
_TUN = "c! /dev/net/tun 0666 root root - 10:200\n"
# By default (MaxStartups 10:30:100) sshd drops connections at random once 10 have not logged in
# yet; parallel runs exceed that. No name server knows these addresses, hence no UseDNS.
_SSHD = "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 100:30:200\n"


def prepare(host: LabHost, recipe: Recipe, target: LabSettings) -> None:
    """Write the host's files and mount its root; an existing host keeps its files."""
    for path in (host.upper, host.path / "work", host.merged, host.docker):
        path.mkdir(parents=True, exist_ok=True)
    keys.ensure_host(host)
    if not os.path.ismount(host.merged):
        # Write to the upper layer before the mount: the kernel leaves it undefined what a
        # mounted overlay shows of changes below it (Documentation/filesystems/overlayfs.rst).
        _write_files(host, target)
        _mount(host, recipe)
    _write_scripts(host, recipe)


def _write_files(host: LabHost, target: LabSettings) -> None:
    root = host.upper
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


def _mount(host: LabHost, recipe: Recipe) -> None:
    layers = f"lowerdir={recipe.tree},upperdir={host.upper},workdir={host.path / 'work'}"
    try:
        run(("mount", "-t", "overlay", "overlay", "-o", layers, str(host.merged)))
    except LabError as error:
        raise LabError(
            f"{host.name}: its root file system could not be mounted: {error.message}",
            "run the lab in a folder on a plain local file system (ext4, xfs, btrfs)",
        ) from error


def _write_scripts(host: LabHost, recipe: Recipe) -> None:
    attach = host.path / "attach.sh"
    netns = str(namespace.path(host.lab))
    names = {"namespace": netns, "link": host.link, "bridge": namespace.BRIDGES[1]}
    attach.write_text(render("lab/attach.sh.j2", host=host.name, **names))
    text = render(
        "lab/supervisor.sh.j2",
        host=host.name,
        cgroups=folders(host),
        attach=attach,
        command=shlex.join(command(host, recipe.repository)),
    )
    host.script.write_text(text)


def command(host: LabHost, packages: Path | None) -> tuple[str, ...]:
    """The command line that boots the host; `packages` is a folder to mount read-only.

    `--register=no --keep-unit`: systemd-machined may be absent, as systemd need not be PID 1 on
    this machine. With these options systemd-nspawn reports a reboot by exit status 133 instead
    of booting again by itself.
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
        *("nsenter", f"--net={namespace.path(host.lab)}", "systemd-nspawn", "--quiet"),
        *("--register=no", "--keep-unit", "--boot", f"--directory={host.merged}"),
        *(f"--machine={host.machine}", f"--hostname={host.name}", "--settings=no"),
        *(f"--network-bridge={namespace.BRIDGES[0]}", f"--network-veth-extra={host.link}:eth1"),
        *("--capability=all", *(f"--system-call-filter={call}" for call in system_calls), *binds),
        *("--console=read-only", "--setenv=TERM=dumb", "--resolv-conf=off", "--timezone=off"),
        *("--link-journal=no", "--", "--show-status=yes"),
    )

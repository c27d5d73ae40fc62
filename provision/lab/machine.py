"""One host's tree and how its machine is started: overlay, files, command line."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from provision.lab import keys, namespace
from provision.lab.base import Recipe
from provision.lab.cgroup import folders
from provision.lab.place import HostFiles, addresses_of, mac
from provision.lab.ranges import Ranges
from provision.lab.repository import INSIDE
from provision.lab.tools import run
from provision.model.errors import LabError
from provision.resources.render import render

_TUN = "c! /dev/net/tun 0666 root root - 10:200\n"
_SSHD = "HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\nMaxStartups 100:30:200\n"


def prepare(seat: HostFiles, recipe: Recipe, ranges: Ranges) -> None:
    """Make the host's files and mount its tree; a host that was there keeps what it has."""
    for path in (seat.upper, seat.path / "work", seat.merged, seat.docker):
        path.mkdir(parents=True, exist_ok=True)
    keys.ensure_host(seat)
    if not os.path.ismount(seat.merged):
        # Into the upper layer before it is mounted: writing under a mounted overlay is undefined.
        _furnish(seat, ranges)
        _mount(seat, recipe)
    _write_scripts(seat, recipe)


def _furnish(seat: HostFiles, ranges: Ranges) -> None:
    root = seat.upper
    for network, (name, purpose) in zip(
        addresses_of(seat.host, ranges),
        (("host0", "the NIC for SSH"), ("eth1", "the NIC for the containers' traffic")),
        strict=True,
    ):
        text = render(
            "lab/nic.network.j2", nic=name, purpose=purpose, mac=mac(seat, name), address=network
        )
        _put(root / f"etc/systemd/network/10-{name}.network", text)
    _put(root / "etc/hostname", f"{seat.host}\n")
    _put(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {seat.host}\n")
    _put(root / "etc/tmpfiles.d/lab.conf", _TUN)
    _put(root / "etc/ssh/sshd_config.d/lab.conf", _SSHD)
    _put(root / "etc/ssh/ssh_host_ed25519_key", seat.host_key.read_text(), mode=0o600)
    public = seat.place.key.with_suffix(".pub").read_text()
    _put(root / "root/.ssh/authorized_keys", public, mode=0o600)
    (root / "root").chmod(0o700)
    (root / "root/.ssh").chmod(0o700)


def _put(path: Path, text: str, *, mode: int = 0o644) -> None:
    # What the host has changed since its first start is its own.
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.touch(mode=mode)
        fresh.write_text(text)
        fresh.rename(path)


def _mount(seat: HostFiles, recipe: Recipe) -> None:
    layers = f"lowerdir={recipe.tree},upperdir={seat.upper},workdir={seat.path / 'work'}"
    try:
        run(("mount", "-t", "overlay", "overlay", "-o", layers, str(seat.merged)))
    except LabError as error:
        raise LabError(
            f"{seat.host}: its tree could not be mounted: {error.message}",
            "run the lab in a folder on a plain local file system (ext4, xfs, btrfs)",
        ) from error


def _write_scripts(seat: HostFiles, recipe: Recipe) -> None:
    attach = seat.path / "attach.sh"
    outside = str(namespace.path(seat.place))
    names = {"namespace": outside, "link": seat.link, "bridge": namespace.BRIDGES[1]}
    attach.write_text(render("lab/attach.sh.j2", host=seat.host, **names))
    text = render(
        "lab/supervisor.sh.j2",
        host=seat.host,
        cgroups=folders(seat),
        attach=attach,
        command=shlex.join(command(seat, recipe.repository)),
    )
    seat.script.write_text(text)


def command(seat: HostFiles, packages: Path | None) -> tuple[str, ...]:
    """The machine's command line.

    runc needs the key calls (its session keyring) and bpf (devices of cgroup v2). `--register=no
    --keep-unit`, because systemd need not be the machine's PID 1; so `reboot` ends with 133.
    """
    calls = ("add_key", "keyctl", "bpf")
    # Docker's own overlays cannot lie on the overlay of the tree.
    binds = [f"--bind={seat.docker}:/var/lib/docker"]
    if packages is not None:
        binds.append(f"--bind-ro={packages}:{INSIDE}")
    return (
        *("nsenter", f"--net={namespace.path(seat.place)}", "systemd-nspawn", "--quiet"),
        *("--register=no", "--keep-unit", "--boot", f"--directory={seat.merged}"),
        *(f"--machine={seat.machine}", f"--hostname={seat.host}", "--settings=no"),
        *(f"--network-bridge={namespace.BRIDGES[0]}", f"--network-veth-extra={seat.link}:eth1"),
        *("--capability=all", *(f"--system-call-filter={call}" for call in calls), *binds),
        *(
            "--console=read-only",
            "--setenv=TERM=dumb",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
        ),
        *("--", "--show-status=yes"),
    )

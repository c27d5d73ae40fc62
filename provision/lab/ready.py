"""Waiting for a host: sshd answers, Docker works, the busybox image is loaded."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path

from provision.lab import image, kernels, supervisor
from provision.lab.layout import Lab, LabHost
from provision.model.errors import LabError

# Escape sequences and other control characters, which an error message must not repeat: CSI
# (colours), OSC (titles), and everything that is neither a newline nor printable ASCII.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\n\x20-\x7e]")

# </dev/null: standard input is the image's archive, which `docker load` below needs whole.
_DOCKER = "until docker info >/dev/null 2>&1; do sleep 0.2; done </dev/null\n"
# A host with a disk of its own keeps the image after a power cut only if it is on the disk. Docker
# does not write its layers out, and would then have files without content.
_IMAGE = f"""\
docker image inspect {image.NAME} >/dev/null 2>&1 ||
    docker load --quiet >/dev/null || exit 1
systemd-detect-virt -qc || sync
"""
# Once the NIC is a port of a bridge, that has the address.
_LEASE = "until ip -4 -o address show | grep -qF ' {address}/'; do sleep 0.2; done </dev/null\n"
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id\n"


def ssh(lab: Lab, name: str, *command: str, quick: bool = False) -> tuple[str, ...]:
    """The ssh command line for a host; `quick`: never ask, and give up soon."""
    limit_s = 10 * kernels.machine_of(lab).slowness
    options = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={limit_s}", "-o", "LogLevel=ERROR")
    return ("ssh", "-F", str(lab.ssh_config), *(options if quick else ()), name, *command)


def wait(
    host: LabHost,
    address: str,
    *,
    docker: bool,
    image_tar: Path | None = None,
    lease: str = "",
    timeout_s: float,
) -> str:
    """Wait until the host is up and has the image of `image_tar`; return its boot id.

    `lease` is the address that it has to get by DHCP.
    Raises LabError that names the host and shows the end of its console.
    """
    deadline = time.monotonic() + timeout_s
    until_sshd(host, address, deadline=deadline)
    # One SSH login for all steps: a login costs more than the steps themselves.
    steps = (
        _DOCKER if docker else "",
        _IMAGE if image_tar else "",
        _LEASE.format(address=lease) if lease else "",
    )
    script = "".join((*steps, _BOOT_ID))
    argv = ssh(host.lab, host.name, script, quick=True)
    remaining_s = max(1.0, deadline - time.monotonic())
    try:
        with (image_tar or Path("/dev/null")).open("rb") as tar:
            process = subprocess.run(
                argv, stdin=tar, capture_output=True, text=True, timeout=remaining_s
            )
    except subprocess.TimeoutExpired as error:
        awaited = "Docker or the DHCP server" if lease else "Docker"
        raise _not_up(host, f"{awaited} did not answer within {timeout_s:g} s") from error
    if process.returncode:
        raise _not_up(host, f"ssh ended with {process.returncode}: {process.stderr.strip()}")
    return process.stdout.strip()


def until_sshd(host: LabHost, address: str, *, deadline: float) -> None:
    """Wait for sshd's banner. Raises LabError when the host ended, or at the deadline."""
    next_check = time.monotonic() + 2
    while not _answers(address):
        now = time.monotonic()
        if now > deadline:
            raise _not_up(host, "sshd did not answer in time")
        if now > next_check:
            # The check reads /proc of every process of all hosts: too slow for each turn.
            next_check = now + 3
            if not supervisor.watched(host):
                raise _not_up(host, "its machine ended")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=1) as link:
        return link.recv(4) == b"SSH-"
    return False


def _not_up(host: LabHost, reason: str) -> LabError:
    text = host.console.read_text(errors="replace") if host.console.exists() else ""
    text = _CONTROL.sub("", text)
    tail = "\n".join(f"    {line}" for line in text.splitlines()[-15:])
    return LabError(
        f"{host.name} did not come up: {reason}\n{tail or '    (its console is empty)'}",
        f"see the whole console in {host.console}",
    )

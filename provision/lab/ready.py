"""Is a host up: sshd answers, Docker works, its image is there."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from pathlib import Path

from provision.lab import image, supervisor
from provision.lab.place import HostFiles, Place
from provision.model.errors import LabError

# What a console says to steer a terminal: not to be repeated in an error.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\n\x20-\x7e]")

_DOCKER = "until docker info >/dev/null 2>&1; do sleep 0.2; done </dev/null\n"
_IMAGE = f"""\
docker image inspect {image.NAME} >/dev/null 2>&1 ||
    docker load --quiet >/dev/null || exit 1
"""
_BOOT_ID = "cat /proc/sys/kernel/random/boot_id\n"


def ssh(place: Place, host: str, *command: str, quick: bool = False) -> tuple[str, ...]:
    """The ssh command line that reaches a host; `quick`: without questions or patience."""
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR")
    return ("ssh", "-F", str(place.ssh_config), *(options if quick else ()), host, *command)


def wait(
    seat: HostFiles, address: str, *, docker: bool, image_tar: Path | None = None, timeout_s: float
) -> str:
    """Wait until the host is up and has the image of `image_tar`; its boot id.

    Raises LabError that names the host and shows the end of its console.
    """
    deadline = time.monotonic() + timeout_s
    until_sshd(seat, address, deadline=deadline)
    script = "".join((_DOCKER if docker else "", _IMAGE if image_tar else "", _BOOT_ID))
    argv = ssh(seat.place, seat.host, script, quick=True)
    left = max(1.0, deadline - time.monotonic())
    try:
        with (image_tar or Path("/dev/null")).open("rb") as tar:
            done = subprocess.run(argv, stdin=tar, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired as error:
        raise _not_up(seat, f"Docker did not answer within {timeout_s:g} s") from error
    if done.returncode:
        raise _not_up(seat, f"ssh ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def until_sshd(seat: HostFiles, address: str, *, deadline: float) -> None:
    """Wait for sshd's first word. Raises LabError when the host ended, or at the deadline."""
    look = time.monotonic() + 2
    while not _answers(address):
        now = time.monotonic()
        if now > deadline:
            raise _not_up(seat, "sshd did not answer in time")
        if now > look:
            # Reading all processes is dear: not at every turn.
            look = now + 3
            if not supervisor.watched(seat):
                raise _not_up(seat, "its machine ended")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=1) as link:
        return link.recv(4) == b"SSH-"
    return False


def _not_up(seat: HostFiles, why: str) -> LabError:
    text = seat.console.read_text(errors="replace") if seat.console.exists() else ""
    text = _CONTROL.sub("", text)
    tail = "\n".join(f"    {line}" for line in text.splitlines()[-15:])
    return LabError(
        f"{seat.host} did not come up: {why}\n{tail or '    (its console is empty)'}",
        f"the whole console: {seat.console}",
    )

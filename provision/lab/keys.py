"""Keys and SSH files of a lab. Host keys are made here, so that checking is strict at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from provision.lab.place import HostFiles, Place, addresses_of
from provision.lab.ranges import Ranges
from provision.lab.tools import run
from provision.model.errors import LabError
from provision.resources.render import render


def ensure(place: Place) -> None:
    """The lab's own key pair, for root on all its hosts."""
    _make(place.key, f"provision-lab-{place.tag}")


def refuse_foreign(place: Place) -> None:
    """Raise LabError when a file of the user stands where the lab would write one."""
    there = [path for path in files(place) if path.exists()]
    if there and not place.state.exists():
        raise LabError(f"{there[0]} is there and is not of a lab", "move it away")


def ensure_host(seat: HostFiles) -> None:
    _make(seat.host_key, seat.host)


def _make(path: Path, comment: str) -> None:
    if not path.with_suffix(".pub").exists():
        path.unlink(missing_ok=True)
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)))


def write_config(place: Place, hosts: Sequence[str], ranges: Ranges) -> None:
    """ssh_config and known_hosts of the hosts; unchanged text is not written."""
    named = [(host, addresses_of(host, ranges)[0]) for host in hosts]
    known = "".join(f"{address} {_public(place.seat(host))}\n" for host, address in named)
    _write(place.known_hosts, known)
    paths = {"key": place.key, "known_hosts": place.known_hosts}
    _write(place.ssh_config, render("lab/ssh_config.j2", hosts=named, **paths))


def _public(seat: HostFiles) -> str:
    return " ".join(seat.host_key.with_suffix(".pub").read_text().split()[:2])


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def files(place: Place) -> tuple[Path, ...]:
    """What is made for the user's own ssh and inventories."""
    public = place.key.with_suffix(".pub")
    return place.ssh_config, place.key, public, place.known_hosts, place.image


def hand_over(place: Place) -> None:
    """Under sudo the files belong to the user, whose own `ssh -F` is to read them."""
    user, group = (int(os.environ.get(name, "0")) for name in ("SUDO_UID", "SUDO_GID"))
    if user:
        for path in (place.dot, *files(place)):
            os.chown(path, user, group)
